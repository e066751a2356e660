"""The commands that make videos: `demo` and `sample`; `calibrate` for a model that is to make them faster."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from actavatar_jax.cli.echomimic import check_system, sample_echomimic
from actavatar_jax.cli.options import (
    Adapter,
    Anyway,
    AttentionForm,
    AudioEncoder,
    ChunkFrames,
    Distributed,
    Dtype,
    Lora,
    Memory,
    MeshSizes,
    Model,
    PhaseTime,
    Rate,
    Scale,
    Shift,
    Solver,
    Steps,
)
from actavatar_jax.cli.progress import StepBar
from actavatar_jax.errors import InputError

app = typer.Typer()


@app.command(
    epilog='Example: actavatar demo --say "Good morning." --prompt "[0-1s] Nods. [1.5-3s] Waves the left arm."'
)
def demo(
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the video and the pictures; default: runs/demo, of a head runs/head."),
    ] = None,
    say: Annotated[str | None, typer.Option(help="What is said, no longer than the clip; default: made up.")] = None,
    prompt: Annotated[
        str | None, typer.Option(help="Text, or a .json, .yaml or .txt file; default: two actions of the seed.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the presenter and whatever is not given.")] = 0,
    voice: Annotated[str | None, typer.Option(help="english-us, german-woman, ...; a wrong one lists all.")] = None,
    model: Annotated[Path | None, typer.Option(help="Model folder of puppets; default: the shipped one.")] = None,
    system: Annotated[str, typer.Option(help="actavatar, or avatarsync: a head that speaks.")] = "actavatar",
) -> None:
    """A puppet that the shipped model never saw talks and acts on cue: mp4, pictures and a score, in about a minute."""
    if system == "avatarsync":
        from actavatar_jax.puppets.avatarsync.demo import SHIPPED, make_demo

        if prompt is not None:
            raise InputError("Heads of avatarsync speak and do nothing else; leave --prompt out.")
        print(make_demo(out or Path("runs/head"), say=say, seed=seed, voice=voice, model=model or SHIPPED))
        return
    if system != "actavatar":
        raise InputError(f'There is no demo of the system "{system}"; choose one of actavatar, avatarsync.')
    from actavatar_jax.puppets.demo import SHIPPED, make_demo

    shown = make_demo(out or Path("runs/demo"), say=say, prompt=prompt, seed=seed, voice=voice, model=model or SHIPPED)
    print(shown)


@app.command(
    epilog="Example: actavatar sample --model M --image face.png --audio speech.wav "
    '--prompt "A woman speaking. [0-2s] Waves." --out talk.mp4'
)
def sample(
    model: Model,
    image: Annotated[Path | None, typer.Option(help="Portrait.")] = None,
    audio: Annotated[Path | None, typer.Option(help="Speech; the video keeps its rate and channels.")] = None,
    prompt: Annotated[str | None, typer.Option(help="Text, or a .json, .yaml or .txt file.")] = None,
    out: Annotated[Path | None, typer.Option(help="The mp4 to write.")] = None,
    jobs: Annotated[Path | None, typer.Option(help="JSON lines with image, audio, prompt, out and options.")] = None,
    frames: Annotated[int | None, typer.Option(help="4k+1; default: the model's own.")] = None,
    rate: Rate = None,
    seconds: Annotated[
        str | None, typer.Option(help="In parts of so many frames, until it is so long, or as long as the `speech`.")
    ] = None,
    overlap: Annotated[int | None, typer.Option(help="Latent frames that a part knows of the one before.")] = None,
    hold_colours: Annotated[bool, typer.Option(help="Gives parts the colour statistics of the first one.")] = False,
    height: Annotated[int | None, typer.Option(help="Pixels; default: the model's own, or from the image.")] = None,
    width: Annotated[int | None, typer.Option(help="Pixels; default: the model's own, or from the image.")] = None,
    steps: Steps = None,
    solver: Solver = None,
    shift: Shift = None,
    text_guidance: Scale = None,
    audio_guidance: Scale = None,
    guidance: Annotated[
        str | None,
        typer.Option(help="auto, joint, text_first, audio_first or audio_only; default: the model's own."),
    ] = None,
    guidance_interval: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="LOW HIGH", help="Noise levels with guidance; default: the model's own."),
    ] = None,
    skip: Annotated[
        float | None,
        typer.Option(help="Leave out steps while the velocity changes by less than this, such as 0.1; see calibrate."),
    ] = None,
    seed: Annotated[
        list[int] | None, typer.Option(help="Of the noise; given again, for a video each; default: the model's own.")
    ] = None,
    num_videos: Annotated[int, typer.Option(min=1, help="So many seeds, from the given one on.")] = 1,
    negative_prompt: Annotated[str | None, typer.Option(help="Default: the model's own.")] = None,
    phase_time: PhaseTime = None,
    anyway: Anyway = False,
    preview: Annotated[
        Path | None, typer.Option(help="Folder for a picture of the video as it is after the latest step.")
    ] = None,
    dtype: Dtype = "float32",
    attention: AttentionForm = "auto",
    audio_encoder: AudioEncoder = None,
    quantize: Annotated[str | None, typer.Option(help="int8 or fp8: weights in half the memory of bfloat16.")] = None,
    lora: Lora = None,
    adapter: Adapter = None,
    memory: Memory = "auto",
    mesh: MeshSizes = None,
    distributed: Distributed = False,
    stall_minutes: Annotated[
        float, typer.Option(min=0, help="Over several processes, without a step, until they exit with 75; 0: never.")
    ] = 30.0,
    system: Annotated[str, typer.Option(help="actavatar, or echomimic: the options below are its own.")] = "actavatar",
    base: Annotated[Path | None, typer.Option(help="Folder of Wan2.1-Fun-V1.1-1.3B-InP.")] = None,
    variant: Annotated[str, typer.Option(help="preview or flash.")] = "preview",
    task: Annotated[
        str, typer.Option(help="first_frame, first_and_last, continuation, mouth or text_and_audio.")
    ] = "first_frame",
    last_image: Annotated[Path | None, typer.Option(help="The last frame, of first_and_last.")] = None,
    video: Annotated[Path | None, typer.Option(help="To go on from, or whose mouth is to say something else.")] = None,
    mouth: Annotated[str | None, typer.Option(help="Its box in the video: top, bottom, left, right in pixels.")] = None,
    face: Annotated[
        str | None, typer.Option(help="Where speech is heard: such a box in the portrait, or everywhere (preview).")
    ] = None,
    models: Annotated[Path | None, typer.Option(help="Folder with face.onnx, by which boxes are found.")] = None,
    teacache: Annotated[
        str | None, typer.Option(help="off, separate or shared: leaves out what changes little.")
    ] = None,
    chunk_frames: ChunkFrames = None,
) -> None:
    """Makes a talking video, several with other seeds, or those of a jobs file (finished ones are skipped)."""
    every = dict(locals())
    check_system(system, sample, every)
    if system == "echomimic":
        return sample_echomimic({**every, "num_frames": frames})
    from actavatar_jax.parallel import join_cluster
    from actavatar_jax.runs.jobs import Job, read_jobs, read_seconds, run_jobs, with_seeds
    from actavatar_jax.runs.preview import save_preview

    options = {
        "num_frames": frames, "rate": rate, "height": height, "width": width, "steps": steps, "solver": solver,
        "shift": shift, "text_guidance": text_guidance, "audio_guidance": audio_guidance, "guidance": guidance,
        "guidance_interval": guidance_interval, "skip": skip, "seed": seed[0] if seed else None,
        "negative_prompt": negative_prompt, "phase_time": phase_time, "anyway": anyway or None,
        "seconds": read_seconds(seconds), "overlap": overlap, "hold_colours": hold_colours or None,
    }  # fmt: skip
    shared = {name: value for name, value in options.items() if value is not None}
    single = {"--image": image, "--audio": audio, "--prompt": prompt, "--out": out}
    missing = [name for name, value in single.items() if value is None]
    if jobs is not None and len(missing) < len(single):
        raise InputError("Give either --jobs or a single --image, --audio, --prompt and --out, not both.")
    if jobs is None and missing:
        raise InputError(f"A single video needs {', '.join(single)}; {', '.join(missing)} is not given.")
    if distributed:
        join_cluster()
    rows = read_jobs(jobs, shared) if jobs else [Job(str(image), str(audio), prompt, str(out), shared)]
    rows = [job for row in rows for job in with_seeds(row, seed or [], num_videos)]
    loading = {"dtype": dtype, "attention": attention, "audio_encoder": audio_encoder, "mesh": mesh}
    loading |= {"quantize": quantize, "loras": lora or [], "adapter": adapter, "memory": memory}

    def watch(pipeline, job):
        bar = StepBar()

        def callback(step):
            bar(step)
            if preview:
                save_preview(preview / f"{Path(job.out).stem}.png", pipeline.encoders, step)

        return callback

    course = {"skip_finished": jobs is not None, "listed": jobs, "watch": watch, "stall_minutes": stall_minutes}
    if run_jobs(model, rows, **course, **loading):
        sys.exit(2)


@app.command(
    epilog="Example: actavatar calibrate --model M --image face.png --audio speech.wav "
    '--prompt "A woman speaking. [0-2s] Waves."'
)
def calibrate(
    model: Model,
    image: Annotated[Path, typer.Option(help="Portrait.")],
    audio: Annotated[Path, typer.Option(help="Speech.")],
    prompt: Annotated[str, typer.Option(help="Text, or a .json, .yaml or .txt file.")],
    steps: Steps = None,
    solver: Solver = None,
    shift: Shift = None,
    text_guidance: Scale = None,
    audio_guidance: Scale = None,
    anyway: Anyway = False,
    dtype: Dtype = "float32",
    attention: AttentionForm = "auto",
    audio_encoder: AudioEncoder = None,
) -> None:
    """Measures on one video how the velocity changes, and stores that in the model folder: for `sample --skip`."""
    from actavatar_jax.runs.calibration import calibrate

    options = {
        "steps": steps, "solver": solver, "shift": shift, "text_guidance": text_guidance,
        "audio_guidance": audio_guidance,
    }  # fmt: skip
    given = {name: value for name, value in options.items() if value is not None}
    loading = {"dtype": dtype, "attention": attention, "audio_encoder": audio_encoder}
    print(calibrate(model, image, audio, prompt, options=given, anyway=anyway, watch=StepBar(), **loading))
