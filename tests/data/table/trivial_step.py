"""A step that costs nothing; spawned workers import it from here."""

import errno
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actavatar_jax.errors import InputError
from data_pipelines.table import Clip, Skip, Step, Table


def synthetic(count: int) -> Table:
    return Table.from_clips(
        Clip(f"c{i:06d}", "synthetic", f"{i}.mp4", float(i), facts={"probe.height": i % 7}) for i in range(count)
    )


def arithmetic(clip: Clip, clip_dir: Path) -> dict[str, Any]:
    """Values of every kind; every 13th clip cannot be measured, every 17th has an odd column more."""
    number = int(clip.id[1:])
    if number % 13 == 0:
        raise Skip("unlucky", f"{number} is a multiple of 13")
    if number % 101 == 0:
        raise InputError(f"Video {number} is damaged.")
    row = {"third": number / 3, "height": clip.facts["probe.height"], "profile": [number * 0.1] * (number % 3)}
    return row | ({"odd": str(number)} if number % 17 == 0 else {})


def constant_state(clip: Clip, clip_dir: Path) -> str:
    return clip.source


ARITHMETIC = Step("arithmetic", arithmetic, state=constant_state)


@dataclass(frozen=True)
class Counting:
    """Writes one line per call; optionally dies, or fails in one of several ways, at one clip."""

    log: Path
    kill: str = ""
    fail: str = ""  # beginning of ids
    interrupt: str = ""
    deny: str = ""
    full: str = ""

    def __call__(self, clip: Clip, clip_dir: Path) -> dict[str, Any]:
        if self.fail and clip.id.startswith(self.fail):
            raise ZeroDivisionError("a bug")
        if clip.id == self.interrupt:
            raise KeyboardInterrupt
        if clip.id == self.deny:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if clip.id == self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if clip.id == self.kill:
            with next(clip_dir.glob(".steps/counting/*/*.jsonl")).open("a") as journal:
                journal.write('\n{"id": "c000002", "row": {"ver')  # as a kill amid a line leaves it
            os.kill(os.getpid(), signal.SIGKILL)
        with self.log.open("a") as log:
            log.write(f"{clip.id}\n")
        return {"x": 1}


def not_a_number(clip: Clip, clip_dir: Path) -> dict[str, Any]:
    return {"x": float("nan")}


def sleep(clip: Clip, clip_dir: Path) -> dict[str, Any]:
    (clip_dir / f"{os.getpid()}.pid").touch()
    time.sleep(60)
    return {}
