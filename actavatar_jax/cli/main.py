"""`actavatar ...`: argument parsing and printing only; every command calls one function of the library."""

import logging
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from actavatar_jax import __version__
from actavatar_jax.cli import data as cli_data
from actavatar_jax.errors import InputError

app = typer.Typer(
    help="Talking avatars that act on cue.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
prompts = typer.Typer(help="Structured prompts.", no_args_is_help=True)
convert = typer.Typer(help="Weights between this library and PyTorch layouts.", no_args_is_help=True)
evaluate = typer.Typer(help="Scores of a model.", no_args_is_help=True)
app.add_typer(prompts, name="prompt")
app.add_typer(convert, name="convert")
app.add_typer(evaluate, name="evaluate")
app.add_typer(cli_data.app)
prompts.command(
    "write",
    epilog="Example: actavatar prompt write --image face.png --audio speech.wav "
    "--server http://localhost:8000/v1 --model Qwen3-Omni-30B-A3B",
)(cli_data.prompt_write)


def main() -> None:
    """Runs a command; wrong input is one sentence on standard error and exit code 2."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    logging.getLogger("actavatar_jax").setLevel(logging.INFO)
    try:
        app()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if show:
        print(__version__)


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
    from actavatar_jax.puppets.demo import SHIPPED, run

    print(run(out, say=say, prompt=prompt, seed=seed, voice=voice, model=model or SHIPPED))


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


@prompts.command("check", epilog='Example: actavatar prompt check "A man. [0-2s] Waves. [2-4s] Points down."')
def prompt_check(
    prompt: Annotated[str, typer.Argument(help="Text, or a .json, .yaml or .txt file.")],
    seconds: Annotated[float | None, typer.Option(help="Length of the clip it is for.")] = None,
    model: Annotated[Path | None, typer.Option(help="Model folder whose tokenizer counts the tokens.")] = None,
) -> None:
    """Shows the timeline and the tokens of every block, or all problems at once."""
    from actavatar_jax.prompt import StructuredPrompt
    from actavatar_jax.prompt.tokenizer import load_tokenizer

    parsed = StructuredPrompt.coerce(prompt)
    tokenizer = load_tokenizer(model / "tokenizer") if model else None
    parsed.check(duration=seconds, tokenizer=tokenizer)
    print(parsed.timeline(seconds))
    print(f"\n{parsed.render()}")
    if tokenizer:
        ids = parsed.tokenise(tokenizer).phase_ids.tolist()
        names = ["base", *(f"phase {k}" for k in range(1, len(parsed.phases) + 1))]
        print("\ntokens: " + ", ".join(f"{name} {ids.count(k)}" for k, name in enumerate(names)))


@app.command(
    context_settings={"ignore_unknown_options": True},  # --config.NAME=VALUE
    epilog="Example: actavatar train --config configs/stage1.py:runlocal --workdir runs/s1 --config.seed=1",
)
def train(
    config: Annotated[str, typer.Option(help="Config file, with its argument behind a colon.")],
    workdir: Annotated[Path, typer.Option(help="Checkpoints, logs, samples and the trained model folder.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="Changed settings: --config.NAME=VALUE ...")] = None,
) -> None:
    """Trains as launch/train.py does; goes on from the last checkpoint in the work folder."""
    from absl import logging as absl_logging

    from actavatar_jax.puppets.dataset import SOURCES
    from actavatar_jax.runs import experiment
    from actavatar_jax.training.settings import read_config

    absl_logging.set_verbosity(absl_logging.WARNING)  # the checkpoint library reports every step of its own at INFO
    experiment.run(read_config(config, overrides or []), workdir, sources=SOURCES)


@app.command(
    context_settings={"ignore_unknown_options": True},  # --config.NAME=VALUE
    epilog="Example: actavatar plan --config configs/stage2.py --topology v5p:2x2x2 --mesh 1,8,1",
)
def plan(
    config: Annotated[str, typer.Option(help="Config file, with its argument behind a colon.")],
    topology: Annotated[str, typer.Option(help="v5e:4x4, v5p:2x2x2, tpu7x:2x2x1, h200:8, 2xv5p:4x4x4, ...")],
    mesh: Annotated[str | None, typer.Option(help="Devices along data, fsdp and seq; default: the config's.")] = None,
    search: Annotated[bool, typer.Option("--search", help="Every mesh that divides, the fastest first.")] = False,
    json: Annotated[Path | None, typer.Option(help="File for all figures of all plans.")] = None,
    overrides: Annotated[list[str] | None, typer.Argument(help="Changed settings: --config.NAME=VALUE ...")] = None,
) -> None:
    """Compiles the training step for a cluster that is not here: memory, collectives, time; what to change to fit."""
    import jax

    from actavatar_jax import planning
    from actavatar_jax.training.settings import read_config

    if search and mesh:
        raise InputError("Give either --mesh or --search, which tries every mesh, not both.")
    jax.config.update("jax_platforms", "cpu")  # accelerators of this machine are left alone
    settings = read_config(config, overrides or [])
    if search:
        with tqdm(unit="mesh", desc="planning") as bar:
            plans = planning.search(settings, topology, report=partial(_show, bar, topology))
        print(planning.compare(plans))
    else:
        plans = [planning.plan(settings, topology, mesh or settings.mesh)]
        print(planning.describe(plans[0]))
        if not plans[0].fits:
            for tried in tqdm(planning.advise(settings, plans[0]), unit="plan", desc="looking for what fits"):
                plans.append(tried)
            print(f"\n{planning.compare(plans)}\n\n{planning.verdict(plans)}")
    if json:
        planning.save(json, plans)
    if not plans[0].fits:  # of the given mesh, or the best one
        sys.exit(1)


@convert.command("from-torch", epilog="Example: actavatar convert from-torch Wan2.2-TI2V-5B model/")
def from_torch(source: Path, folder: Path) -> None:
    """Original Wan or diffusers folder -> model folder."""
    from actavatar_jax.weights.convert import from_torch

    with tqdm(unit="B", unit_scale=True) as bar:
        from_torch(source, folder, report=partial(_show, bar))


@convert.command("to-torch", epilog="Example: actavatar convert to-torch model/ out/ --layout wan")
def to_torch(
    folder: Path, out: Path, layout: Annotated[str, typer.Option(help="wan or diffusers.")] = "diffusers"
) -> None:
    """Model folder -> a folder for PyTorch programs."""
    from actavatar_jax.weights.convert import to_torch

    with tqdm(unit="B", unit_scale=True) as bar:
        to_torch(folder, out, layout=layout, report=partial(_show, bar))


@evaluate.command("puppets", epilog="Example: actavatar evaluate puppets --model runs/puppets/stage2/model")
def evaluate_puppets(
    model: Annotated[Path, typer.Option(help="Model folder of puppets.")],
    items: Annotated[int, typer.Option(min=1, max=10_000, help="Clips to sample; no training draws them.")] = 64,
    out: Annotated[Path, typer.Option(dir_okay=False, help="The report, with intervals.")] = Path("report.json"),
) -> None:
    """Samples drawn clips that no training saw, and judges them from their pixels: lips, actions, timing."""
    from actavatar_jax.pipeline import ActAvatarPipeline
    from actavatar_jax.puppets import demo
    from actavatar_jax.puppets import recipe as puppets

    with demo.delivered(out.parent) as folder:
        world = demo.world_of(model)
        pipeline = ActAvatarPipeline.from_pretrained(model)
        report = puppets.evaluate(pipeline, world, demo.UNSEEN[:items])
        puppets.save_report(report, folder / out.name)
    print(report.table())


@evaluate.command("untold", epilog="Example: actavatar evaluate untold --idle random")
def evaluate_untold(
    idle: Annotated[str, typer.Option(help="Idle motion of the puppets: told or random.")] = "told",
    items: Annotated[int, typer.Option(min=1, max=10_000, help="Clips to draw.")] = 10,
) -> None:
    """The share of motion energy that first frame, sound and prompt do not tell: the floor under any model's error."""
    from actavatar_jax.puppets.world.clips import World
    from actavatar_jax.puppets.world.untold import untold_share

    print(f"{untold_share(World(idle=idle), tqdm(range(items), 'drawing', unit='clip')):.2f}")


def _show(bar: tqdm, component: str, done: int, total: int) -> None:
    """Sets a progress bar to the bytes done of one component."""
    bar.set_description(component, refresh=False)
    bar.total, bar.n = total, done
    bar.refresh()


if __name__ == "__main__":
    main()
