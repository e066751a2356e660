"""Ends a run that stands still: a collective that waits for a lost host, a file system that does not answer."""

import contextlib
import faulthandler
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from actavatar_jax.training.runtime.guard import UNFINISHED

log = logging.getLogger(__name__)


class Watchdog:
    """Used in `with`. Without a `beat` for `minutes`, it writes every thread's stack to `file` and ends the process.

    The process exits at once, with `UNFINISHED`: a thread that hangs would never let it end in good order. 0 minutes:
    off. No file: standard error.
    """

    def __init__(self, minutes: float, file: Path | None = None):
        self.limit, self.file = 60 * minutes, file
        self.last = time.monotonic()
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        if self.limit:
            self.beat()
            self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()

    def beat(self) -> None:
        """A step is done."""
        self.last = time.monotonic()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """For work of unknown length that is no step."""
        limit, self.limit = self.limit, float("inf")
        try:
            yield
        finally:
            self.beat()
            self.limit = limit

    def _watch(self) -> None:
        while not self.done.wait(min(self.limit / 4, 5.0)):
            if time.monotonic() - self.last > self.limit:
                where = f"in {self.file}" if self.file else "below"
                log.error("No step for %.0f seconds: the stacks are %s, and the run ends.", self.limit, where)
                with self.file.open("a") if self.file else contextlib.nullcontext(sys.stderr) as file:
                    faulthandler.dump_traceback(file, all_threads=True)
                os._exit(UNFINISHED)
