"""What stands in the place of a file of weights: whether it is there, may be read, and is what its name says."""

import contextlib
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from actavatar_jax.errors import InputError
from actavatar_jax.storage import named, texts

HEAD = 512  # bytes that tell kinds of files apart
ZIP = b"PK\3\4"  # how PyTorch's files begin


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[BinaryIO, bytes]]:
    """A file of weights, open for reading, and how it begins.

    InputError where it is missing, may not be read, or is obviously something else.
    """
    if path.is_symlink() and not os.path.exists(path):
        raise InputError(f"{named(path)} is a link to {named(os.readlink(path))}, which is missing.")
    with texts.opened(path, sys.maxsize) as file:
        head = file.read(HEAD)
        if other := _something_else(head):
            raise InputError(f"{named(path)} is {other}.")
        file.seek(0)
        yield file, head


def is_file(path: Path) -> bool:
    """Whether there is a file under this name, were it a link to nothing. InputError where that cannot be known."""
    return _mode(path) in (stat.S_IFREG, stat.S_IFLNK)


def is_folder(path: Path) -> bool:
    """Whether there is a folder. InputError where that cannot be known."""
    return _mode(path) == stat.S_IFDIR


def is_safetensors(head: bytes) -> bool:
    """Whether a file begins as safetensors do: with a length of less than a TB, and an object in JSON."""
    return head[5:9] == b"\0\0\0{"


def _mode(path: Path) -> int | None:
    """What kind of thing has this name; a link that leads to nothing is a link."""
    try:
        return stat.S_IFMT(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return stat.S_IFLNK if os.path.islink(path) else None
    except (OSError, ValueError) as error:  # of a name that cannot be one, such as with a zero byte
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{named(path)} cannot be read ({reason}).") from error


def _something_else(head: bytes) -> str | None:
    """What a file is that holds no weights, told by its beginning; None: it may well be one."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if is_safetensors(head):
        return None
    if not head:
        return "empty; download it again"
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer in the place of the file: run `git lfs pull`"
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a page that a server sent in the place of the file; download it again"
    if text.startswith((b"{", b"[")):
        return "text in JSON, perhaps the answer of a server in the place of the file; download it again"
    if head.startswith(b"GGUF"):
        return "a GGUF file; accepted are safetensors and PyTorch files"
    if head.startswith(b"\x1f\x8b\x08"):
        return "packed by gzip; unpack it"
    if not head.strip(b"\0"):
        return "full of zeros where it begins, as a download that was broken off; download it again"
    return None
