"""`actavatar avatarsync ...`: the commands of the third system."""

from pathlib import Path
from typing import Annotated

import typer

from actavatar_jax.errors import InputError

app = typer.Typer(help="AvatarSync, as far as it goes: speech as units.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Its commands have names of their own, also while there is but one."""


@app.command(epilog='Example: actavatar avatarsync units "A map of my home."')
def units(
    speech: Annotated[str, typer.Argument(help="A text, or a file of phonemes: .TextGrid, .json or .ctm.")],
    audio: Annotated[Path | None, typer.Option(help="The recording of such a file, which has to be as long.")] = None,
    notation: Annotated[str, typer.Option(help="Of the phonemes of a file: ipa, arpabet or pinyin.")] = "ipa",
    voice: Annotated[str, typer.Option(help="Of espeak-ng, that speaks a text.")] = "english-us",
    rate: Annotated[int, typer.Option(min=80, max=450, help="Words a minute of a text.")] = 170,
) -> None:
    """The units of speech with their times, and the frames of their keyframes."""
    from actavatar_jax.avatarsync import align_text, is_alignment, list_units, read_alignment, schedule, to_units
    from actavatar_jax.media import load_sound

    if is_alignment(speech):
        sound = None if audio is None else load_sound(audio)
        spoken = read_alignment(speech, None if sound is None else len(sound.samples) / sound.rate)
    elif audio is not None:
        raise InputError("A recording goes with a file of its phonemes, and a text is spoken; leave --audio out.")
    else:
        spoken, _ = align_text(speech, voice, rate)
    found = to_units(spoken.phonemes, notation, spoken.words)
    print(list_units(spoken, found, schedule(found, spoken.seconds)))
