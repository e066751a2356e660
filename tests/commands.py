"""Commands as a user types them, run in this process."""

import sys

from actavatar_jax.cli import main as cli


def actavatar(*arguments) -> int:
    """Runs a command in this process and returns its exit code."""
    sys.argv = ["actavatar", *map(str, arguments)]
    try:
        cli.main()
    except SystemExit as stop:
        return stop.code or 0
    return 0
