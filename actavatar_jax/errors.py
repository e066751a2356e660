"""Errors whose text is a complete sentence for a person, and the one line that is said of any other."""

import errno
import os
from collections.abc import Iterator, Mapping
from typing import Any

LONGEST = 400  # characters of a sentence


class InputError(ValueError):
    """Wrong input. The message names the input, what was wrong with it and what is accepted.

    It is one line of at most 400 characters, whatever it quotes: rooms cut what they found, and here is the last limit.
    """

    def __init__(self, message: str = ""):
        line = " ".join(message[: 4 * LONGEST].split())
        super().__init__(line if len(line) <= LONGEST else line[: LONGEST - 1] + "…")


class Skip(Exception):  # noqa: N818  (it is no error: one of many inputs is left out, and the report says why)
    """This one cannot be used. `reason` is one of a few short words to count by, `detail` the whole sentence, `facts`
    what is known of it all the same."""

    def __init__(self, reason: str, detail: str = "", facts: Mapping[str, Any] | None = None):
        super().__init__(detail or reason)
        self.reason, self.detail, self.facts = reason, detail, dict(facts or {})


class OtherProcessError(RuntimeError):
    """Another process failed, and not because of wrong input. The message names it, and what it said."""


class StoreError(OSError):
    """An object store did not do what it was asked for, again and again. The message is a sentence with the address."""


_LIBRARY = os.path.join(os.path.dirname(os.path.realpath(__file__)), "")

# What the system refuses because of what it is asked for, not because of how: a person can mend it.
_REFUSALS = {
    errno.ENOSPC: "there is no space left on the disk",
    errno.EDQUOT: "the quota of the disk is used up",
    errno.EFBIG: "it is larger than files may be here",
    errno.EACCES: "there is no permission",
    errno.EPERM: "there is no permission",
    errno.EROFS: "it can only be read",
} | dict.fromkeys(
    (
        *(errno.ENOENT, errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.ENAMETOOLONG, errno.ELOOP),
        *(errno.EIO, errno.ENXIO, errno.ENODEV, errno.EBUSY, errno.ESTALE, errno.EMFILE, errno.ENFILE),
    )
)


def refused_by_system(error: BaseException) -> str | None:
    """A sentence on what the system or a store refuses: a file, or room on the disk. None for any other exception.

    A file of this library that is not there is no person's mistake.
    """
    if isinstance(error, StoreError):
        return str(error)
    if not isinstance(error, OSError) or error.errno not in _REFUSALS:
        return None
    if error.errno == errno.ENOENT and os.path.realpath(str(error.filename)).startswith(_LIBRARY):
        return None
    why = _REFUSALS[error.errno] or os.strerror(error.errno)
    return f"{error.filename}: {why}." if error.filename else f"{why[0].upper()}{why[1:]}."


def out_of_memory(error: BaseException) -> str | None:
    """A sentence on memory that is used up, of the host or of a device. None for any other exception."""
    of_device = "RESOURCE_EXHAUSTED" in str(error) and type(error).__name__ in ("JaxRuntimeError", "XlaRuntimeError")
    if not of_device and not isinstance(error, MemoryError):
        return None
    return (
        f"The memory of the {'device' if of_device else 'host'} is used up; take a smaller size, fewer frames or a "
        "smaller batch, more devices, or for sampling --memory or --quantize."
    )


def out_of_space(error: BaseException | None) -> bool:
    """Whether a disk is behind an exception that takes no more, or not so large a file."""
    return any(getattr(one, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) for one in _causes(error))


def first_line(error: BaseException) -> str:
    """What is said of an exception: its sentence if it has one, else its class and the first line of its message."""
    if isinstance(error, InputError | OtherProcessError):
        return str(error)
    lines = str(error).strip().splitlines() or [""]
    return refused_by_system(error) or out_of_memory(error) or f"{type(error).__name__}: {lines[0][:300]}"


def interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind an exception: C code that calls Python may have made another one of it."""
    return any(isinstance(one, KeyboardInterrupt) for one in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """It, what it was raised from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
