"""Commands as a user types them, run in this process."""

import sys

from actavatar_jax.cli import main


def actavatar(*arguments) -> int:
    """Runs a command in this process and returns its exit code."""
    sys.argv = ["actavatar", *map(str, arguments)]
    try:
        main()
    except SystemExit as stop:
        return stop.code or 0
    return 0


def refused(capsys, words, *arguments):
    """Exit code 2, and one line on standard error that holds `words`."""
    capsys.readouterr()
    assert actavatar(*arguments) == 2
    error = capsys.readouterr().err.strip()
    lines = [line for line in error.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, error
    assert words in lines[0], error
    assert "Traceback" not in error
