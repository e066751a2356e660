"""`actavatar avatarsync ...`: the commands of the third system."""

from pathlib import Path
from typing import Annotated

import typer

from actavatar_jax.errors import InputError

app = typer.Typer(help="AvatarSync: speech as units, and videos of a head that speaks them.", no_args_is_help=True)


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


@app.command(epilog='Example: actavatar avatarsync sample --model M --image head.png --text "A map." --out said.mp4')
def sample(
    model: Annotated[Path, typer.Option(help="Model folder of AvatarSync.")],
    image: Annotated[Path, typer.Option(help="Picture of a head.")],
    out: Annotated[Path, typer.Option(help="The video, .mp4.")],
    text: Annotated[str | None, typer.Option(help="What a synthetic voice says.")] = None,
    language: Annotated[str, typer.Option(help="Of the text: en or de.")] = "en",
    audio: Annotated[Path | None, typer.Option(help="A recording, in the place of a text.")] = None,
    alignment: Annotated[Path | None, typer.Option(help="Its phonemes: .TextGrid, .json or .ctm.")] = None,
    notation: Annotated[str, typer.Option(help="Of these phonemes: ipa, arpabet or pinyin.")] = "ipa",
    seed: Annotated[int, typer.Option(min=0, help="Of what chance decides.")] = 0,
) -> None:
    """A video of a head that says a text, or what was recorded."""
    from actavatar_jax.avatarsync import AvatarSyncPipeline, plan_speech, plan_text, read_alignment
    from actavatar_jax.media import load_sound
    from actavatar_jax.storage import check_output

    if (text is None) == (audio is None) or (audio is None) != (alignment is None):
        raise InputError("A video needs --text, or --audio and --alignment.")
    check_output(out)
    if text is not None:
        plan = plan_text(text, language)
    else:
        sound = load_sound(audio)
        plan = plan_speech(read_alignment(alignment, len(sound.samples) / sound.rate), sound, notation)
    AvatarSyncPipeline.from_pretrained(model)(image, plan, seed=seed).video.save(out)
