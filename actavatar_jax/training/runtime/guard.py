"""Notices that a run is asked to end: SIGTERM, which schedulers and platforms send before they take a machine back."""

import logging
import signal
import threading
from typing import Any

import jax
from jax.experimental import multihost_utils

UNFINISHED = 75  # exit code: ended before its end, start it again ("try again later" of sysexits.h)

log = logging.getLogger(__name__)


class StopRequest:
    """Used in `with`, and asked after every step.

    With several processes JAX's own service listens: whichever of them gets the signal, all are told at the same step,
    so that they can save together. A process alone listens for itself. Further signals change nothing: schedulers send
    several, and the save must not be cut short.
    """

    def __init__(self):
        self.received = False
        self.previous: Any = None

    def __enter__(self) -> "StopRequest":
        if jax.distributed.is_initialized():
            return self
        if threading.current_thread() is threading.main_thread():
            self.previous = signal.signal(signal.SIGTERM, self._receive) or signal.SIG_DFL
        else:
            log.info("Training outside the main thread: SIGTERM will end it without a checkpoint.")
        return self

    def __exit__(self, *_: object) -> None:
        if self.previous is not None:
            signal.signal(signal.SIGTERM, self.previous)

    def after(self, step: int) -> bool:
        """Whether the run ends after this step; every process asks at every step, and all get the same answer."""
        return self.received or multihost_utils.reached_preemption_sync_point(step)

    def _receive(self, *_: Any) -> None:
        self.received = True
