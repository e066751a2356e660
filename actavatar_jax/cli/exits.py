"""How a command ends: the codes of its exit, and what it says before.

0    done
1    a training diverged, or what was planned does not fit
2    wrong input, in one sentence
71   no memory is left, on the host or on a device
74   the system refuses a file, the disk is full, or an object store fails
70   any other exception ("internal software error" of sysexits.h), with its stack trace; if another process had it, in
     one sentence
75   ended before its end, to be started again (`training.runtime.guard.UNFINISHED`)
130  Ctrl-C
"""

import _thread
import contextlib
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from actavatar_jax.errors import InputError, OtherProcessError, interrupted, out_of_memory, refused_by_system

DIVERGED, WRONG_INPUT, FAILED, NO_MEMORY, REFUSED, INTERRUPTED = 1, 2, 70, 71, 74, 130
PATIENCE = 5.0  # seconds for the others to end as well
BUG = "error: That should not have happened. Please report it, with the lines above and the command."


def run_command(command: Callable[[], object]) -> None:
    """Calls it, and ends the process with a code of the list above for whatever it raises."""
    try:
        with _no_lost_interrupts():
            command()
        return
    except InputError as error:
        said, code = f"error: {error}", WRONG_INPUT
    except FloatingPointError as error:
        said, code = f"error: {error}", DIVERGED
    except OtherProcessError as error:
        said, code = f"error: {error}", FAILED
    except SystemExit as end:
        if end.code != INTERRUPTED:  # which Typer makes of Ctrl-C, without a word
            raise
        said, code = "Interrupted.", INTERRUPTED
    except BaseException as error:  # noqa: BLE001 - here the process ends
        said, code = f"{traceback.format_exc()}{BUG}", FAILED
        if interrupted(error):
            said, code = "Interrupted.", INTERRUPTED
        elif sentence := refused_by_system(error):
            said, code = f"error: {sentence}", REFUSED
        elif sentence := out_of_memory(error):
            said, code = f"error: {sentence}", NO_MEMORY
    print(said, file=sys.stderr, flush=True)
    leave(code)


@contextlib.contextmanager
def _no_lost_interrupts() -> Iterator[None]:
    """Where Python can only ignore exceptions, as while it collects garbage, Ctrl-C is ignored too: it comes again."""
    previous = sys.unraisablehook

    def come_again(unraisable: Any) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            threading.Timer(0.05, _thread.interrupt_main).start()
        else:
            previous(unraisable)

    sys.unraisablehook = come_again
    try:
        yield
    finally:
        sys.unraisablehook = previous


def leave(code: int) -> NoReturn:
    """Ends the process; over several of them so that the others notice, if they do not end with it.

    With the interpreter JAX would end too, for which it waits five minutes for all processes, and then aborts each of
    them. So this one waits for a few seconds, and is gone. The others lose their connection to it, or JAX misses it and
    aborts them: at once where it was process 0, else when its heartbeats have been missing for 100 seconds.
    """
    jax = sys.modules.get("jax")  # a command that has not come so far is alone
    if jax and jax.distributed.is_initialized():
        timer = threading.Timer(PATIENCE, os._exit, [code])
        timer.daemon = True
        timer.start()
    sys.exit(code)
