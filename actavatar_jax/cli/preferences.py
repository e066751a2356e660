"""`actavatar preferences ...`: pairs of videos for preference steps."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from actavatar_jax.cli.echomimic import check_stray
from actavatar_jax.cli.options import AttentionForm, AudioEncoder, Dtype, Memory, Model
from actavatar_jax.errors import InputError

app = typer.Typer(help="Pairs of videos, of which one is preferred.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Its commands have names of their own, also while there is but one."""


@app.command(
    epilog="Example: actavatar preferences make pairs/ --model M --jobs jobs.jsonl --score 'python lips.py {video}'"
)
def make(
    out: Annotated[Path, typer.Argument(help="Folder of pairs, for the setting preference.folder of a training.")],
    model: Model,
    jobs: Annotated[Path, typer.Option(help="JSON lines: of `actavatar sample --jobs`, or as docs/echomimic.md says.")],
    score: Annotated[str, typer.Option(help="Program that prints a number, the higher the better, of {video}.")],
    seeds: Annotated[int, typer.Option(help="Videos of a job, of which the best and the worst are kept.")] = 4,
    models: Annotated[
        Path | None, typer.Option(help="Folder with person.onnx and pose.onnx: pairs tell where hands and faces are.")
    ] = None,
    dtype: Dtype = "float32",
    attention: AttentionForm = "auto",
    audio_encoder: AudioEncoder = None,
    memory: Memory = "auto",
    system: Annotated[str, typer.Option(help="actavatar or echomimic.")] = "actavatar",
    base: Annotated[Path | None, typer.Option(help="Folder of Wan2.1-Fun, of echomimic.")] = None,
    variant: Annotated[str, typer.Option(help="Of echomimic: preview or flash.")] = "preview",
) -> None:
    """Samples every job with several seeds, scores what comes out, and keeps the best and the worst as shards."""
    from actavatar_jax.runs.candidates import AvatarMaker, EchoMimicMaker, read_echomimic_jobs
    from actavatar_jax.runs.jobs import read_jobs
    from actavatar_jax.runs.preferences import make_pairs, scored_by
    from actavatar_jax.runs.regions import region_finder

    own = {"base": base, "variant": variant}
    check_stray(system, make, own, {"actavatar": set(own), "echomimic": set()})
    if system == "echomimic":
        if base is None or audio_encoder is None:
            raise InputError("Pairs of echomimic need --base and --audio-encoder, the folders of its frozen parts.")
        folders, how = (model, base, audio_encoder), {"variant": variant, "dtype": dtype, "attention": attention}
        how["memory"] = memory
        asked, open_maker = read_echomimic_jobs(jobs, variant), partial(EchoMimicMaker.open, *folders, **how)
    else:
        how = {"dtype": dtype, "attention": attention, "audio_encoder": audio_encoder, "memory": memory}
        asked, open_maker = read_jobs(jobs, {}), partial(AvatarMaker.open, model, **how)
    find_regions = None if models is None else region_finder(models)
    pairs = make_pairs(open_maker, asked, out, seeds, scored_by(score), find_regions)
    print(f"{pairs} pairs in {out}")
