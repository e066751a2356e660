"""`actavatar ...`: all groups of commands; every command calls one function of the library."""

import logging
from typing import Annotated

import typer

from actavatar_jax import __version__
from actavatar_jax.cli import (
    avatarsync,
    bench,
    conversion,
    data,
    evaluation,
    planning,
    preferences,
    prompts,
    published,
    sampling,
    training,
)
from actavatar_jax.cli.addresses import refuse_addresses
from actavatar_jax.cli.cache import keep_compiled_programs
from actavatar_jax.cli.exits import run_command

app = typer.Typer(
    help="Talking avatars that act on cue.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(sampling.app)
app.add_typer(training.app)
app.add_typer(preferences.app, name="preferences")
app.add_typer(planning.app, name="plan")
app.add_typer(prompts.app, name="prompt")
app.add_typer(conversion.app, name="convert")
app.add_typer(evaluation.app, name="evaluate")
app.add_typer(avatarsync.app, name="avatarsync")
app.add_typer(published.app, name="models")
app.add_typer(bench.app, name="bench")
app.add_typer(data.app)
refuse_addresses(app)


def main() -> None:
    """Runs a command; how it ends, is told in `exits`."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    for name in ("actavatar_jax", "data_pipelines"):
        logging.getLogger(name).setLevel(logging.INFO)
    keep_compiled_programs()
    run_command(app)


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if show:
        print(__version__)
