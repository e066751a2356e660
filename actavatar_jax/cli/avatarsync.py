"""`actavatar avatarsync ...`: the commands of the third system."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from actavatar_jax.errors import InputError

if TYPE_CHECKING:
    from actavatar_jax.avatarsync import Alignment, Framing

app = typer.Typer(help="AvatarSync: speech as units, and videos of a head that speaks them.", no_args_is_help=True)


Notation = Annotated[str | None, typer.Option(help="Of the phonemes of a file: ipa, arpabet or pinyin.")]
Aligner = Annotated[Path | None, typer.Option(help="Folder of a Wav2Vec2ForCTC, which finds phonemes in a recording.")]


@app.command(epilog='Example: actavatar avatarsync units "A map of my home."')
def units(
    speech: Annotated[
        str, typer.Argument(help="A text; a file of phonemes, .TextGrid, .json or .ctm; with --aligner, a recording.")
    ],
    audio: Annotated[
        Path | None, typer.Option(help="The recording of such a file, or with --aligner of a text.")
    ] = None,
    notation: Notation = None,
    voice: Annotated[str, typer.Option(help="Of espeak-ng, that speaks a text.")] = "english-us",
    rate: Annotated[int, typer.Option(min=80, max=450, help="Words a minute of a text.")] = 170,
    aligner: Aligner = None,
    level: Annotated[str, typer.Option(help="What a unit is of: phonemes, or words.")] = "phonemes",
) -> None:
    """The units of speech with their times, and the frames of their keyframes."""
    from actavatar_jax.avatarsync import align_text, is_alignment, list_units, plan_speech, read_alignment
    from actavatar_jax.media import load_sound

    if notation is not None and (aligner is not None or not is_alignment(speech)):
        raise InputError("A notation is that of the phonemes of a file; leave --notation out.")
    if aligner is not None:
        spoken = _align(aligner, *((speech, None) if audio is None else (audio, speech)), voice)
    elif is_alignment(speech):
        sound = None if audio is None else load_sound(audio)
        spoken = read_alignment(speech, None if sound is None else len(sound.samples) / sound.rate, notation)
    elif audio is not None:
        raise InputError(
            "A recording goes with a file of its phonemes, or with --aligner; a text is spoken: leave --audio out."
        )
    else:
        spoken, _ = align_text(speech, voice, rate)
    plan = plan_speech(spoken, level=level)
    print(list_units(spoken, plan.units, plan.schedule))


@app.command(epilog='Example: actavatar avatarsync sample --model M --image head.png --text "A map." --out said.mp4')
def sample(
    model: Annotated[Path, typer.Option(help="Model folder of AvatarSync.")],
    image: Annotated[Path, typer.Option(help="Picture of a head.")],
    out: Annotated[Path, typer.Option(help="The video, .mp4.")],
    text: Annotated[str | None, typer.Option(help="What a synthetic voice says, or what is said in --audio.")] = None,
    language: Annotated[str, typer.Option(help="Of the text: en, de or zh.")] = "en",
    audio: Annotated[Path | None, typer.Option(help="A recording.")] = None,
    alignment: Annotated[Path | None, typer.Option(help="Its phonemes: .TextGrid, .json or .ctm.")] = None,
    notation: Notation = None,
    aligner: Aligner = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what chance decides.")] = 0,
    paste: Annotated[
        bool, typer.Option("--paste", help="Show the picture's own pixels where nothing changes.")
    ] = False,
    head: Annotated[
        str | None, typer.Option(help="Of a larger picture: LEFT,TOP,SIDE of the head's square, in pixels.")
    ] = None,
    faces: Annotated[Path | None, typer.Option(help="YuNet's .onnx file, which finds that square.")] = None,
) -> None:
    """A video of a head that says a text, or what was recorded; with --head or --faces of the whole picture."""
    from actavatar_jax.avatarsync import AvatarSyncPipeline, plan_speech, plan_text, read_alignment, voice_of
    from actavatar_jax.media import Video, load_sound
    from actavatar_jax.storage import check_output

    if audio is None and (text is None or alignment or aligner):
        raise InputError("A video needs --text, or --audio with --alignment or --aligner.")
    if audio is not None and ((alignment is None) == (aligner is None) or (alignment and text is not None)):
        raise InputError("A recording goes with --alignment, or with --aligner, to which --text tells what is said.")
    if notation is not None and alignment is None:
        raise InputError("A notation is that of the phonemes of --alignment; leave --notation out.")
    if head is not None and faces is not None:
        raise InputError("The head's square is told by --head or found by --faces; leave one of them out.")
    check_output(out)
    framing = None if head is faces is None else _frame(image, head, faces)
    pipeline = AvatarSyncPipeline.from_pretrained(model)
    level = pipeline.level
    if audio is None:
        plan = plan_text(text, language, level=level)
    elif alignment is not None:
        sound = load_sound(audio)
        plan = plan_speech(read_alignment(alignment, len(sound.samples) / sound.rate, notation), sound, level)
    else:
        plan = plan_speech(_align(aligner, audio, text, voice_of(language)), load_sound(audio), level)
    if framing is None:
        video = pipeline(image, plan, seed=seed, paste=paste).video
    else:
        take = pipeline(framing.head, plan, seed=seed)
        into = pipeline.painter.paste(framing.head, take.draft.reference) if paste else None
        video = Video(framing.put_back(take.frames, into), plan.sound)
    video.save(out)


@app.command("from-torch", epilog="Example: actavatar avatarsync from-torch pretrain256_16384.ckpt parts")
def from_torch(
    file: Annotated[Path, typer.Argument(help="Of Open-MAGVIT2's tokenizer or of VFIMamba, as published.")],
    folder: Annotated[Path, typer.Argument(help="Of parts; gets tokenizer/ or interpolator/.")],
) -> None:
    """Public weights of a part -> a folder of parts."""
    from actavatar_jax import functional
    from actavatar_jax.avatarsync import import_part

    name, part = import_part(file, folder)
    print(f"wrote {folder / name}: {functional.count(part.params):,} numbers, {part.config}")


def _frame(image: Path, head: str | None, faces: Path | None) -> "Framing":
    from actavatar_jax.avatarsync import frame_head, square_around
    from actavatar_jax.evaluation.faces import open_boxes
    from actavatar_jax.media import load_image

    picture = load_image(image)
    if head is None:
        return frame_head(picture, square_around(open_boxes(faces)(picture), picture))
    try:
        left, top, side = map(int, head.split(","))
    except ValueError as error:
        raise InputError(f"--head is {head!r}; accepted are three whole numbers, LEFT,TOP,SIDE.") from error
    return frame_head(picture, (left, top, side))


def _align(aligner: Path, recording: str | Path, text: str | None, voice: str) -> "Alignment":
    from actavatar_jax.avatarsync import Recogniser
    from actavatar_jax.media import load_sound

    return Recogniser.from_pretrained(aligner).align(load_sound(recording), text, voice)
