"""Folders of files beside weights, such as tokenizers: whether they can be copied, and the copy."""

import os
import re
import shutil
import stat
from collections.abc import Collection
from fnmatch import fnmatch
from pathlib import Path

from actavatar_jax.errors import InputError
from actavatar_jax.storage import named
from actavatar_jax.weights.files import is_folder


def check_new(folder: Path) -> None:
    """InputError for a name that is taken, and where nothing can be written."""
    if os.path.lexists(folder):
        raise InputError(f"{named(folder)} is there already; name a folder that is not.")
    above = next(one for one in folder.absolute().parents if os.path.lexists(one))
    if not os.path.isdir(above) or not os.access(above, os.W_OK | os.X_OK):
        raise InputError(f"{named(folder)} cannot be made: {named(above)} is no folder that may be written.")


def check_copy(folder: Path, leave_out: Collection[str] = ()) -> int:
    """Bytes of the files below `folder`, if it is there, but for names that `leave_out` has patterns of.

    InputError for the first of them that cannot be copied: a link to nothing or to a folder, a pipe, a device, or what
    may not be read.
    """
    total = 0

    def fail(error: OSError) -> None:
        raise InputError(f"{named(error.filename)} cannot be read ({error.strerror}).") from error

    if not is_folder(folder):
        return 0
    for place, folders, files in os.walk(folder, onerror=fail):
        for name in (*folders, *files):
            path = Path(place) / name
            if any(fnmatch(name, pattern) for pattern in leave_out):
                continue
            if path.is_symlink() and not os.path.isfile(path):
                raise InputError(f"{named(path)} is a link to {named(os.readlink(path))}, where there is no file.")
            if name in folders:
                continue
            try:
                facts = path.stat()
            except OSError as error:
                fail(error)
            if not stat.S_ISREG(facts.st_mode) or not os.access(path, os.R_OK):
                raise InputError(f"{named(path)} cannot be copied; accepted are files that may be read.")
            total += facts.st_size
    return total


def copy_folder(src: Path, dst: Path, leave_out: Collection[str] = ()) -> None:
    """Copies what `check_copy` counts; links become the files that they lead to. Of a `src` that is not there nothing
    is copied. InputError where that fails."""
    if not is_folder(src):
        return
    try:
        shutil.copytree(src, dst, ignore=shutil.ignore_patterns(*leave_out), dirs_exist_ok=True)
    except shutil.Error as error:  # of all files that failed
        path, _, reason = error.args[0][0]
        reason = re.sub(r"^\[Errno \d+\] |: '.*", "", str(reason))
        raise InputError(f"{named(path)} cannot be copied ({reason}).") from error
    except OSError as error:
        raise InputError(f"{named(src)} cannot be copied ({error.strerror or error}).") from error


def check_space(place: Path, needed: int) -> None:
    """InputError where a disk has no room for so many bytes; `place` need not be there yet."""
    above = next(one for one in (place, *place.absolute().parents) if one.is_dir())
    free = shutil.disk_usage(above).free
    if free < needed:
        raise InputError(
            f"{named(place)} needs {needed / 1e6:,.0f} MB of disk, of which {free / 1e6:,.0f} MB are free."
        )
