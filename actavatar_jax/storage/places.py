"""Where files lie: on a disk, as a `Path`, or on an object store, as a `StorePath` with an address like gs://bucket/name.

A store has no rename, no append and no locks, and no decoder opens what lies there. So what is to be read is fetched
(`fetching`), what is written is put up as a whole once it is complete (`writing`), and journals and locks lie on the
machine (`scratch_of`). What is up is complete, as a store has an object wholly or not at all.

Stores are those of fsspec. Each request is tried four times; what fails then is a `StoreError`, and never taken for a
file that is not there, as fsspec's own `isfile`, `exists` and `glob` do.
"""

import fnmatch
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn, TypeVar

from actavatar_jax.errors import InputError, StoreError, out_of_space
from actavatar_jax.storage.sentences import cut, named

ATTEMPTS, PAUSE = 4, 1.0  # seconds before the second attempt; twice as many before each further one
FINAL = (PermissionError, NotImplementedError, IsADirectoryError, NotADirectoryError)  # the same another time
_ADDRESS = re.compile(r"([a-z][a-z0-9+.:-]+):/")
_ON_DISK, _WEB = ("file", "local"), ("http", "https", "ftp")

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoreFacts:
    """What a store says of a file, under the name that `os.stat_result` has for it."""

    st_size: int


class StorePath(PurePosixPath):
    """A file or folder on an object store. `str` gives the address; names are made as those of a `Path`.

    A folder is there if a file is in it. Nothing that works on a disk takes a StorePath: `os.fspath` refuses it in a
    sentence. Methods raise StoreError where the store does not answer.
    """

    def __str__(self) -> str:
        return _ADDRESS.sub(r"\1://", super().__str__(), count=1)

    def __fspath__(self) -> NoReturn:
        raise _refusal(self)

    def is_file(self) -> bool:
        return self._kind() == "file"

    def is_dir(self) -> bool:
        return self._kind() == "directory"

    def exists(self) -> bool:
        return self._kind() is not None

    def stat(self) -> StoreFacts:
        return StoreFacts(self._ask(lambda store: store.info(str(self)))["size"])

    def iterdir(self) -> Iterator["StorePath"]:
        """What is in the folder, by names; nothing where there is no folder."""
        yield from (path for path, _ in self._entries())

    def glob(self, pattern: str) -> Iterator["StorePath"]:
        """What is there of `pattern`, whose parts are as those of a `Path`; `**` is none of them."""
        level = [self]
        for part in PurePosixPath(pattern).parts:
            level = [path for folder in level for path in folder.iterdir() if fnmatch.fnmatchcase(path.name, part)]
        yield from level

    def rglob(self, pattern: str) -> Iterator["StorePath"]:
        """All files of these names in the folder, then in those below."""
        inside = self._entries()
        yield from (path for path, kind in inside if kind != "directory" and fnmatch.fnmatchcase(path.name, pattern))
        for path in (path for path, kind in inside if kind == "directory"):
            yield from path.rglob(pattern)

    def unlink(self, missing_ok: bool = False) -> None:
        try:
            self._ask(lambda store: store.rm_file(str(self)))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Folders come with their files."""

    def resolve(self) -> "StorePath":
        return self

    def get(self, target: Path) -> None:
        """Copies the file to the disk, all of it."""

        def copy(store: Any) -> None:
            size = store.info(str(self))["size"]
            store.get_file(str(self), str(target))
            if size is not None and target.stat().st_size != size:
                raise OSError(f"{target.stat().st_size:,} of {size:,} bytes came")

        self._ask(copy)

    def put(self, source: Path) -> None:
        """Has the contents of a file on the disk here."""
        try:
            self._ask(lambda store: store.put_file(str(source), str(self)))
        except FileNotFoundError as error:
            raise StoreError(
                f"{named(self)} cannot be put up: there is no such bucket ({cut(str(error), 120)})."
            ) from error

    def _entries(self) -> list[tuple["StorePath", str]]:
        """(path, "file" or "directory") of what is in the folder, by names."""

        def list_all(store: Any) -> dict[str, str]:
            kinds = {entry["name"].strip("/"): entry["type"] for entry in store.ls(str(self), detail=True)}
            # Of a file that is all there is, and some stores have an object for the folder itself.
            kinds.pop(store._strip_protocol(str(self)).strip("/"), None)
            return kinds

        try:
            kinds = self._ask(list_all)
        except FileNotFoundError:
            return []
        return sorted((self / name.rpartition("/")[2], kind) for name, kind in kinds.items())

    def _kind(self) -> str | None:
        try:
            return self._ask(lambda store: store.info(str(self)))["type"]
        except FileNotFoundError:
            return None

    def _ask(self, request: Callable[[Any], T]) -> T:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return request(_open_store(self))
            except (FileNotFoundError, InputError):
                raise
            except Exception as error:
                if out_of_space(error):
                    raise
                what = cut(f"{type(error).__name__}: {error}", 160)
                if attempt == ATTEMPTS or isinstance(error, FINAL):
                    raise StoreError(f"{named(self)}: the object store fails ({what}); run this again.") from error
                log.warning("%s: the object store fails (%s); it is asked again", named(self), what)
                time.sleep(PAUSE * 2 ** (attempt - 1))
        raise AssertionError


Place = Path | StorePath


def open_place(address: "str | Place") -> Place:
    """The place of a path or an address. InputError for a store that is unknown, or whose package is missing."""
    if not isinstance(address, str):
        return address
    found = _ADDRESS.match(address)
    if not found or not address.startswith(f"{found[0]}/"):
        return Path(address)
    if found[1] in _ON_DISK:
        return Path(address[len(found[0]) + 1 :])
    path = StorePath(address)
    path._ask(lambda store: None)
    return path


def absolute(path: Place) -> Place:
    """Whole and without `..`; links stay."""
    return path if isinstance(path, StorePath) else Path(os.path.abspath(path))


def join(folder: Place, name: str) -> Place:
    """What a name in a table, of a place or relative to `folder`, leads to; whatever it is, never to the web."""
    found = _ADDRESS.match(name)
    if os.path.isabs(name) or (found and found[1] not in _WEB and _is_known(found[1])):
        return open_place(name)
    return folder / name


def check_on_disk(path: "str | Place") -> None:
    """InputError for an address: `Path` makes a folder of a strange name of it."""
    found = _ADDRESS.match(str(path))
    if found and _is_known(found[1]):
        raise _refusal(path)


def scratch_of(path: Place) -> Path:
    """Where journals and locks of a folder lie: in itself, and of one on a store in a folder of this machine.

    That is below `$ACTAVATAR_SCRATCH`, by default a folder of this user in the one for temporary files; it is made.
    """
    if not isinstance(path, StorePath):
        return path
    folder = scratch_root() / "places" / "/".join(part.replace(":", "") for part in path.parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def scratch_root() -> Path:
    default = Path(tempfile.gettempdir()) / f"actavatar-{os.getuid()}"
    root = Path(os.environ.get("ACTAVATAR_SCRATCH") or default)
    root.mkdir(parents=True, exist_ok=True)
    return root


def _open_store(path: StorePath) -> Any:
    import fsspec  # not everybody has stores

    try:
        store, _ = fsspec.core.url_to_fs(str(path), use_listings_cache=False)  # what others put up meanwhile is seen
        return store
    except ImportError as error:
        raise InputError(f"{named(path)}: the package for this store is missing ({cut(str(error), 120)}).") from error
    except ValueError as error:
        raise InputError(f"{named(path)}: no such kind of store is known ({cut(str(error), 120)}).") from error


def _is_known(protocol: str) -> bool:
    import fsspec

    try:
        fsspec.get_filesystem_class(protocol)
    except ImportError:  # it is, and its package is missing
        return True
    except ValueError:
        return False
    return True


def _refusal(path: object) -> InputError:
    address = _ADDRESS.sub(r"\1://", str(path).replace("://", ":/"), count=1)
    return InputError(f"{named(address)} is an address on a store; a path on a disk is needed here.")
