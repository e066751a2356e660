"""One lock for each folder that commands change: a second command ends with a sentence, where it would lose work.

The lock is the operating system's, `flock` of a file that stays there, so it ends with its process, however that ends.
It holds between the processes of a machine, and between machines on file systems that pass it on: NFS (Linux 2.6.12 or
later), CephFS, GPFS, Lustre that is mounted with `flock`. Lustre with `localflock`, and NFS with `local_lock`, know of
the own machine only, and where there are no locks at all a warning says so and nothing is locked.
"""

import contextlib
import errno
import fcntl
import logging
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from actavatar_jax.errors import InputError
from actavatar_jax.storage.places import Place, check_on_disk, open_place, scratch_of
from actavatar_jax.storage.sentences import cut, named

NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EBADF)  # the last: NFS, of a file that is only read

log = logging.getLogger(__name__)


@contextlib.contextmanager
def locked_folder(folder: str | Place, *, shared: bool = False, wait: bool = False) -> Iterator[None]:
    """Nobody else changes the `folder`, which must be there, during the block; InputError if somebody does already.

    Those who ask for it `shared` share the folder with each other. With `wait`, it waits until the others have ended.
    The lock is `<folder>/.lock`; of a folder on an object store it is in the scratch folder, and holds on this machine.
    """
    with _locked(scratch_of(open_place(folder)) / ".lock", open_place(folder), shared, wait):
        yield


@contextlib.contextmanager
def locked_target(path: str | Path) -> Iterator[None]:
    """Nobody else writes `path`, a file or folder that is replaced as a whole; InputError if somebody does already.

    The lock is `.<name>.lock` beside it; folders above are made.
    """
    check_on_disk(path)
    final = Path(os.path.realpath(path))
    final.parent.mkdir(parents=True, exist_ok=True)
    with _locked(final.with_name(f".{final.name}.lock"), final, shared=False, wait=False):
        yield


@contextlib.contextmanager
def locked_list(path: str | Path) -> Iterator[None]:
    """Nobody else works through the list `path`, a file that is only read; InputError if somebody does already.

    The lock is the file itself, so it may lie where nothing can be written.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise InputError(f"{named(path)} cannot be read ({error.strerror}).") from error
    try:
        _lock(file, Path(path), "worked through by another process", fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(file)


@contextlib.contextmanager
def _locked(path: Path, what: Place, shared: bool, wait: bool) -> Iterator[None]:
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise InputError(f"{named(what)} cannot be changed ({error.strerror}).") from error
    kind = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    try:
        if _lock(file, what, f"changed by {_holder(file)}", kind):
            os.ftruncate(file, 0)
            os.pwrite(file, f"process {os.getpid()} on {platform.node()}".encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(file, 0)
    finally:
        os.close(file)


def _lock(file: int, what: Place, taken: str, kind: int) -> bool:
    """False where there are no locks; InputError, with what `what` is being, where another process has it."""
    try:
        fcntl.flock(file, kind)
    except BlockingIOError as error:
        raise InputError(f"{named(what)} is being {taken}; run this again when that has ended.") from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        log.warning("%s: no locks on this file system (%s); run one command at a time", what, error.strerror)
        return False
    return True


def _holder(file: int) -> str:
    return cut(os.pread(file, 200, 0).decode("utf-8", "replace"), 100) or "another process"
