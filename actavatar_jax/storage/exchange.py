"""Two folders change their names in one step, where the system can do that: `renameat2` of Linux (man 2 rename)."""

import ctypes
import os
from pathlib import Path

_AT_FDCWD = -100  # paths are as they are given
_RENAME_EXCHANGE = 2


def exchange(one: Path, other: Path) -> bool:
    """Whether both, which are there, have each other's name now. If not, nothing has changed."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None:  # no Linux, or a C library from before 2018
        return False
    return rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0
