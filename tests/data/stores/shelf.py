"""An object store in a folder, `shelf://name`, without rename and append, that fails when it is told to.

`$SHELF` is the folder. A file `$SHELF.requests` beside it has the number of requests that are still answered, by all
processes together; without it, all are. A file appears wholly or not at all, and folders come and go with their files.
"""

import fcntl
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

import fsspec
from fsspec.spec import AbstractFileSystem


class Shelf(AbstractFileSystem):
    """What is asked of it: `info`, `ls`, `get_file`, `put_file`, `rm_file`."""

    protocol = "shelf"

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        local = self._answer(path)
        if not local.is_file() and not (local.is_dir() and any(local.iterdir())):
            raise FileNotFoundError(path)
        return _facts(local)

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        local = self._answer(path)
        if not local.is_dir():
            return [self.info(path)]
        return [_facts(child) for child in local.iterdir()]

    def get_file(self, rpath: str, lpath: str, **_: Any) -> None:
        shutil.copyfile(self._answer(rpath), lpath)

    def put_file(self, lpath: str, rpath: str, **_: Any) -> None:
        local = self._answer(rpath)
        written = local.parents[len(local.relative_to(root()).parts)] / f"put-{secrets.token_hex(4)}"
        shutil.copyfile(lpath, written)
        local.parent.mkdir(parents=True, exist_ok=True)
        written.replace(local)

    def rm_file(self, path: str) -> None:
        local = self._answer(path)
        local.unlink()
        for folder in local.parents:
            if folder == root() or any(folder.iterdir()):
                return
            folder.rmdir()

    def _answer(self, path: str) -> Path:
        """Where the file lies, if the request is answered."""
        left = root().with_name(f"{root().name}.requests")
        if left.exists():
            with left.open("r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                count = int(file.read())
                if not count:
                    raise ConnectionError("no answer")
                file.seek(0)
                file.truncate()
                file.write(str(count - 1))
        return root() / self._strip_protocol(path)


def _facts(local: Path) -> dict[str, Any]:
    name, is_file = local.relative_to(root()).as_posix(), local.is_file()
    return {"name": name, "size": local.stat().st_size * is_file, "type": "file" if is_file else "directory"}


def root() -> Path:
    return Path(os.environ["SHELF"])


def put_up(folder: Path, name: str) -> str:
    """The address of a folder on a disk that now is there, too."""
    shutil.copytree(folder, root() / name)
    return f"shelf://{name}"


def answer_only(requests: int | None) -> None:
    """Has it answer so many requests more, and then none; None: all."""
    left = root().with_name(f"{root().name}.requests")
    left.unlink(missing_ok=True)
    if requests is not None:
        left.write_text(str(requests))


def register_everywhere(folder: Path, monkeypatch: Any) -> None:
    """Has fsspec know of it in processes that are started, too, as it knows of installed packages."""
    package = folder / "shelf-1.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Name: shelf\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[fsspec.specs]\nshelf = tests.data.stores.shelf:Shelf\n")
    monkeypatch.syspath_prepend(folder)


fsspec.register_implementation("shelf", Shelf, clobber=True)
