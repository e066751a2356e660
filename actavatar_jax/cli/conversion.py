"""The commands between this library's weights and PyTorch's: `convert from-torch` and `convert to-torch`."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from actavatar_jax.cli.options import PhaseTime, Rate
from actavatar_jax.cli.progress import show_progress

app = typer.Typer(help="Weights between this library and PyTorch layouts.", no_args_is_help=True)


@app.command("from-torch", epilog="Example: actavatar convert from-torch Wan2.2-TI2V-5B model/")
def from_torch(source: Path, folder: Path, phase_time: PhaseTime = None, rate: Rate = None) -> None:
    """Original Wan or diffusers folder -> model folder."""
    from actavatar_jax.weights import from_torch

    with tqdm(unit="B", unit_scale=True) as bar:
        from_torch(source, folder, report=partial(show_progress, bar), phase_time=phase_time, rate=rate)


@app.command("to-torch", epilog="Example: actavatar convert to-torch model/ out/ --layout wan")
def to_torch(
    folder: Path, out: Path, layout: Annotated[str, typer.Option(help="wan or diffusers.")] = "diffusers"
) -> None:
    """Model folder -> a folder for PyTorch programs."""
    from actavatar_jax.weights import to_torch

    with tqdm(unit="B", unit_scale=True) as bar:
        to_torch(folder, out, layout=layout, report=partial(show_progress, bar))
