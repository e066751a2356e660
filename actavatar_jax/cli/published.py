"""`actavatar models check`: the published networks that filters and metrics stand on."""

from pathlib import Path
from typing import Annotated

import typer

from actavatar_jax.errors import InputError

app = typer.Typer(help="Published networks, which filters and metrics stand on.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Its command has a name of its own, also while it is the only one."""


@app.command(epilog="Example: actavatar models check models/")
def check(folder: Annotated[Path, typer.Argument(help="Where the files lie, as `filter --models` takes it.")]) -> None:
    """Says of each file whether it is as published, and of each filter and metric whether it can be measured."""
    from actavatar_jax.runs.published import check_published

    report = check_published(folder)
    print(report.table())
    if report.refused:
        raise InputError(f"{folder}: what is there is refused by {', '.join(report.refused)}.")
