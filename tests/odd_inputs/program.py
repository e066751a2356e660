"""An area of odd inputs in a process of its own: `python -m tests.odd_inputs.program AREA FOLDER` tells
its outcomes in JSON.

Each call gets 10 seconds and a GiB of memory beside what the process had before. Its outcome is `taken`, `refused` (an
InputError of one line and at most 400 characters) or a failure, which is told with what was odd.
"""

import collections
import contextlib
import json
import logging
import resource
import signal
import sys
from pathlib import Path
from random import Random

from actavatar_jax.errors import InputError
from tests.odd_inputs import areas

SECONDS, MEMORY, LONGEST = 10, 2**30, 400


class TooLong(BaseException):
    """It is no Exception, so that nobody catches it on the way."""


def main(name: str, folder: Path) -> None:
    logging.disable(logging.WARNING)
    folder.mkdir(parents=True)
    counts, failures = collections.Counter(), []
    signal.signal(signal.SIGALRM, _stop)
    for what, call in getattr(areas, name)(folder, Random(0)):
        limit = _resident() + MEMORY
        outcome = _outcome(call)
        if outcome in ("taken", "refused") and _resident() > limit:
            outcome = "more than a GiB"
        counts[outcome] += 1
        if outcome not in ("taken", "refused"):
            failures.append(f"{what}: {outcome}")
    print(json.dumps({"counts": counts, "failures": failures}))


def _outcome(call) -> str:
    signal.alarm(SECONDS)
    try:
        with open("/dev/null", "w") as nowhere, contextlib.redirect_stdout(nowhere):
            call()
    except InputError as error:
        text = str(error)
        if "\n" in text or len(text) > LONGEST or not text.strip():
            return f"a sentence of {len(text)} characters and {len(text.splitlines())} lines: {text[:200]!r}"
        return "refused"
    except TooLong:
        return f"more than {SECONDS} s"
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is told
        return f"{type(error).__name__}: {str(error)[:200]}"
    finally:
        signal.alarm(0)
    return "taken"


def _stop(*_) -> None:
    raise TooLong


def _resident() -> int:
    """The most memory that the process has had (Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
