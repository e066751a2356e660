"""One sitting of a training that takes many, as a program of its own."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable

from absl import logging as absl_logging

from actavatar_jax.cli.cache import keep_compiled_programs
from actavatar_jax.cli.exits import run_command
from actavatar_jax.heap import keep_memory_of_steps


def run_sitting(make: Callable[[], None], minutes: float) -> None:
    """Runs `make`, says on standard output what it does, and in one sentence what is wrong; keeps compiled programs.

    After so many minutes (0: never) it is asked to end as by SIGTERM: a training then saves and exits with code 75, to
    be started again, and other steps just end.
    """
    absl_logging.set_verbosity(absl_logging.WARNING)  # the checkpoint library reports every step of its own at INFO
    logging.basicConfig(level=logging.INFO, handlers=[logging.StreamHandler(sys.stdout)])
    keep_compiled_programs()
    keep_memory_of_steps()
    if minutes:
        end = threading.Timer(60 * minutes, os.kill, (os.getpid(), signal.SIGTERM))
        end.daemon = True
        end.start()
    run_command(make)
