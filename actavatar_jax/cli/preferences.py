"""`actavatar preferences ...`: pairs of videos for preference steps."""

from pathlib import Path
from typing import Annotated

import typer

from actavatar_jax.cli.options import AttentionForm, AudioEncoder, Dtype, Memory, Model

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
    jobs: Annotated[Path, typer.Option(help="JSON lines as of `actavatar sample --jobs`.")],
    score: Annotated[str, typer.Option(help="Program that prints a number, the higher the better, of {video}.")],
    seeds: Annotated[int, typer.Option(help="Videos of a job, of which the best and the worst are kept.")] = 4,
    dtype: Dtype = "float32",
    attention: AttentionForm = "auto",
    audio_encoder: AudioEncoder = None,
    memory: Memory = "auto",
) -> None:
    """Samples every job with several seeds, scores what comes out, and keeps the best and the worst as shards."""
    from actavatar_jax.runs.jobs import read_jobs
    from actavatar_jax.runs.preferences import make_pairs

    loading = {"dtype": dtype, "attention": attention, "audio_encoder": audio_encoder, "memory": memory}
    pairs = make_pairs(model, read_jobs(jobs, {}), out, seeds, score, **loading)
    print(f"{pairs} pairs in {out}")
