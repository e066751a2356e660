"""Text files of other people: regular files, of bounded size, in UTF-8, whose lines end at line feeds only.

A pipe or a device may be endless or never answer, so it is not read. What bounds the size bounds the time as well.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from actavatar_jax.errors import InputError, StoreError
from actavatar_jax.storage.fetching import fetched
from actavatar_jax.storage.places import Place, StorePath, check_on_disk
from actavatar_jax.storage.sentences import named

LARGEST = 2**23  # bytes of a document
_PIECE = 2**16

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def read_text(path: str | Place, *, limit: int = LARGEST) -> str:
    """The contents of a text file, without a byte order mark; line ends stay as they are (`split_lines`).

    InputError for what is missing, cannot be read, is no regular file, has more than `limit` bytes, or is not UTF-8.
    """
    return decode(read_bytes(path, limit=limit), named(path))


def read_bytes(path: str | Place, *, limit: int = LARGEST) -> bytes:
    """The contents of a regular file of at most `limit` bytes; InputError as `read_text`."""
    content = bytearray()
    with opened(path, limit) as file:
        while piece := file.read(_PIECE):  # to ask for all that is accepted would take memory for it
            content += piece
            if len(content) > limit:  # it has grown, or does not say how large it is, as in /proc
                raise _too_large(path, limit)
    return bytes(content)


def decode(content: bytes, source: str) -> str:
    """UTF-8, with or without a byte order mark, as text; InputError names the `source`."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{source} is not UTF-8 text (byte {content[error.start]:#04x} at {error.start}); save it as UTF-8."
        ) from error


def split_lines(text: str) -> list[str]:
    r"""The lines of a text. They end at \n or \r\n and nowhere else: JSON may hold U+2028 or U+0085 as they are."""
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []


@contextlib.contextmanager
def opened(path: str | Place, limit: int) -> Iterator[BinaryIO]:
    """A regular file of at most `limit` bytes, open for reading. InputError also where reading fails inside, but for a
    StoreError, which is no fault of the file."""
    source = named(path)
    try:
        if isinstance(path, StorePath):
            if path.stat().st_size > limit:
                raise _too_large(path, limit)
        else:
            check_on_disk(path)
        with fetched(path) as local, open(_descriptor(local), "rb") as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                kind = _KINDS.get(stat.S_IFMT(facts.st_mode), "something else")
                raise InputError(f"{source} is {kind}; accepted is a regular file.")
            if facts.st_size > limit:
                raise _too_large(path, limit)
            yield file
    except FileNotFoundError as error:
        raise InputError(f"The file {source} is missing.") from error
    except StoreError:
        raise
    except OSError as error:
        raise InputError(f"The file {source} cannot be read ({error.strerror}).") from error


def _descriptor(path: str | Path) -> int:
    try:
        # To open a pipe would wait until somebody writes to it, but for O_NONBLOCK.
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:
        raise InputError(f"{named(path)} is no name of a file ({error}).") from error  # it has a NUL


def _too_large(path: str | Place, limit: int) -> InputError:
    return InputError(f"The file {named(path)} is too large; accepted are up to {limit:,} bytes.")
