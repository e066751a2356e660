"""Files and folders that appear under their names only when they are whole.

What is written lies beside its target, as `.<name>.<host>-<process>-<random>.partial`, until it is on the disk; then it
is renamed. A full disk or a kill leaves what was there before. The first time that a process writes into a folder, it
removes what dead processes of its host left there; whether one of another host is dead cannot be known. What belongs on
an object store lies in the scratch folder meanwhile, and is put up.
"""

import contextlib
import os
import platform
import re
import secrets
import shutil
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

from actavatar_jax.errors import InputError
from actavatar_jax.storage.exchange import exchange
from actavatar_jax.storage.places import Place, StorePath, check_on_disk, scratch_of, scratch_root
from actavatar_jax.storage.sentences import named

_HOST = f"{zlib.crc32(platform.node().encode()):08x}"
_PARTIAL = re.compile(rf"\..+\.{_HOST}-(\d+)-[0-9a-f]{{8}}\.partial")

_cleaned: set[tuple[int, Path]] = set()  # (process, folder); a forked child inherits its parent's
_cleaning = threading.Lock()


@contextlib.contextmanager
def replaced_file(path: str | Place) -> Iterator[Path]:
    """A free name on the disk to write to, beside `path`; it becomes `path` when the block ends without an error.

    Folders above are made. Where `path` is a link, it stays one, and the file that it leads to is replaced. Raises
    StoreError where it cannot be put up.
    """
    if isinstance(path, StorePath):
        with temporary(scratch_root() / path.name) as partial:
            yield partial
            path.put(partial)
        return
    final = _final(path)
    with temporary(final) as partial:
        yield partial
        _flush(partial)
        os.replace(partial, final)


@contextlib.contextmanager
def replaced_folder(path: str | Path) -> Iterator[Path]:
    """An empty folder beside `path` to fill; it takes the place of `path` when the block ends without an error.

    Folders above and links are as in `replaced_file`. Where a full folder cannot be replaced in one step (`exchange`),
    a kill between two steps leaves the old one as `.<name>.old`; the next `replaced_folder` or `mend_folder` puts it
    back.
    """
    final = _final(path)
    with temporary(final) as partial:
        _settle(final)
        partial.mkdir()
        yield partial
        for file in partial.rglob("*"):
            if file.is_file():
                _flush(file)
        if final.exists() and exchange(partial, final):
            return
        try:
            if final.exists():
                final.rename(_aside(final))
            partial.rename(final)
        finally:
            _settle(final)


def check_output(path: str | Path) -> None:
    """InputError where no file can be written under this name. Folders above are made."""
    check_on_disk(path)
    try:
        final = Path(os.path.realpath(os.fsencode(path)).decode())
    except ValueError as error:
        raise InputError(f"{named(path)} is no name of a file; accepted is text in UTF-8, without zeros.") from error
    if os.path.isdir(final):
        raise InputError(f"{named(path)} is a folder; give the name of a file.")
    try:
        with temporary(final) as partial:
            partial.touch()
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{named(path)} cannot be written: one of the folders above it is a file.") from error
    except OSError as error:
        raise InputError(f"{named(path)} cannot be written: {os.strerror(error.errno).lower()}.") from error


def mend_folder(folder: Place) -> None:
    """Removes from `folder` whatever writers left that were killed on any host, and puts back what they set aside.

    For folders into which nobody is writing. On a store nothing is left.
    """
    if isinstance(folder, StorePath):
        return
    for aside in list(folder.glob(".*.old")):
        _settle(folder / aside.name[1 : -len(".old")])
    for partial in list(folder.glob(".*.partial")):
        _remove(partial)


def remove_folder(folder: Place) -> None:
    """Removes a folder with all that is in it; on a store file by file, in the order of their names."""
    if isinstance(folder, StorePath):
        for path in folder.rglob("*"):
            path.unlink(missing_ok=True)
        shutil.rmtree(scratch_of(folder))
    else:
        shutil.rmtree(folder)


@contextlib.contextmanager
def temporary(final: Path) -> Iterator[Path]:
    """A name that nobody else uses; what has it is removed at the end."""
    final.parent.mkdir(parents=True, exist_ok=True)
    _clean(final.parent)
    partial = final.with_name(f".{final.name}.{_HOST}-{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        yield partial
    finally:
        _remove(partial)


def _final(path: str | Path) -> Path:
    """What is replaced: the file or folder that a link leads to. InputError for an address."""
    check_on_disk(path)
    return Path(os.path.realpath(path))


def _clean(folder: Path) -> None:
    """Removes what dead processes left, once: to list a folder of many clips for each of them would take long."""
    with _cleaning:  # no other thread has begun to write here
        if (os.getpid(), folder) not in _cleaned:
            for name in os.listdir(folder):
                found = _PARTIAL.fullmatch(name)
                if found and not _runs(int(found[1])):
                    _remove(folder / name)
            _cleaned.add((os.getpid(), folder))


def _runs(process: int) -> bool:
    """Whether another process of this number runs; what has our own number is of one that had it before us."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        return True
    return process != os.getpid()


def _aside(final: Path) -> Path:
    return final.with_name(f".{final.name}.old")


def _settle(final: Path) -> None:
    """Removes what was set aside for `final`, or puts it back where nothing took its place."""
    aside = _aside(final)
    if aside.exists() and not final.exists():
        aside.rename(final)
    _remove(aside)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Waits until the disk has it: else a power cut may leave a renamed file empty."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
