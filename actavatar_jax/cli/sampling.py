"""The commands that make videos: `demo` and `sample`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from actavatar_jax.errors import InputError

app = typer.Typer()


@app.command(
    epilog='Example: actavatar demo --say "Good morning." --prompt "[0-1s] Nods. [1.5-3s] Waves the left arm."'
)
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the video and the pictures.")] = Path("runs/demo"),
    say: Annotated[str | None, typer.Option(help="What is said, no longer than the clip; default: made up.")] = None,
    prompt: Annotated[
        str | None, typer.Option(help="Text, or a .json, .yaml or .txt file; default: two actions of the seed.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the presenter and whatever is not given.")] = 0,
    voice: Annotated[str | None, typer.Option(help="english-us, german-woman, ...; a wrong one lists all.")] = None,
    model: Annotated[Path | None, typer.Option(help="Model folder of puppets; default: the shipped one.")] = None,
) -> None:
    """A puppet that the shipped model never saw talks and acts on cue: mp4, pictures and a score, in about a minute."""
    from actavatar_jax.puppets.demo import SHIPPED, make_demo

    print(make_demo(out, say=say, prompt=prompt, seed=seed, voice=voice, model=model or SHIPPED))


@app.command(
    epilog="Example: actavatar sample --model M --image face.png --audio speech.wav "
    '--prompt "A woman speaking. [0-2s] Waves." --out talk.mp4'
)
def sample(
    model: Annotated[Path, typer.Option(help="Model folder.")],
    image: Annotated[Path | None, typer.Option(help="Portrait.")] = None,
    audio: Annotated[Path | None, typer.Option(help="Speech.")] = None,
    prompt: Annotated[str | None, typer.Option(help="Text, or a .json, .yaml or .txt file.")] = None,
    out: Annotated[Path | None, typer.Option(help="The mp4 to write.")] = None,
    jobs: Annotated[Path | None, typer.Option(help="JSON lines with image, audio, prompt, out and options.")] = None,
    frames: Annotated[int | None, typer.Option(help="4k+1 at 25 fps; default: the model's own.")] = None,
    height: Annotated[int | None, typer.Option(help="Pixels; default: the model's own, or from the image.")] = None,
    width: Annotated[int | None, typer.Option(help="Pixels; default: the model's own, or from the image.")] = None,
    steps: Annotated[int | None, typer.Option(help="Solver steps; default: the model's own.")] = None,
    solver: Annotated[
        str | None, typer.Option(help="unipc, dpm++, euler, or mean with 1 step; default: the model's own.")
    ] = None,
    shift: Annotated[float | None, typer.Option(help="Warp of the noise levels; default: the model's own.")] = None,
    text_guidance: Annotated[float | None, typer.Option(help="Default: the model's own.")] = None,
    audio_guidance: Annotated[float | None, typer.Option(help="Default: the model's own.")] = None,
    guidance: Annotated[
        str | None,
        typer.Option(help="auto, joint, text_first, audio_first or audio_only; default: the model's own."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the noise; default: the model's own.")] = None,
    negative_prompt: Annotated[str | None, typer.Option(help="Default: the model's own.")] = None,
    anyway: Annotated[bool, typer.Option("--anyway", help="Also of a portrait that the model cannot show.")] = False,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    attention: Annotated[str, typer.Option(help="xla, chunked, cudnn or splash.")] = "xla",
    audio_encoder: Annotated[Path | None, typer.Option(help="Wav2Vec2 folder, if the model has none.")] = None,
) -> None:
    """Makes a talking video, or one for each line of a jobs file (those that exist are skipped)."""
    from actavatar_jax.runs.jobs import Job, read_jobs, run_jobs

    options = {
        "num_frames": frames, "height": height, "width": width, "steps": steps, "solver": solver, "shift": shift,
        "text_guidance": text_guidance, "audio_guidance": audio_guidance, "guidance": guidance, "seed": seed,
        "negative_prompt": negative_prompt, "anyway": anyway or None,
    }  # fmt: skip
    shared = {name: value for name, value in options.items() if value is not None}
    single = {"--image": image, "--audio": audio, "--prompt": prompt, "--out": out}
    missing = [name for name, value in single.items() if value is None]
    if jobs is not None and len(missing) < len(single):
        raise InputError("Give either --jobs or a single --image, --audio, --prompt and --out, not both.")
    if jobs is None and missing:
        raise InputError(f"A single video needs {', '.join(single)}; {', '.join(missing)} is not given.")
    rows = read_jobs(jobs, shared) if jobs else [Job(str(image), str(audio), prompt, str(out), shared)]
    loading = {"dtype": dtype, "attention": attention, "audio_encoder": audio_encoder}
    failed = run_jobs(model, rows, skip_finished=jobs is not None, **loading)
    if failed:
        sys.exit(2)
