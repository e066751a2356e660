"""Memory that is used again: records are large, and new pages for each of them cost more time than reading them."""

import ctypes
import functools

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_KEPT = 1 << 30  # bytes at the end of the heap that are not given back
_LARGEST = 32 << 20  # bytes of a block that comes from the heap, the most that glibc accepts


@functools.cache
def keep_freed_memory() -> None:
    """Has this process keep up to 1 GiB of freed memory for its next blocks (with glibc; else nothing).

    By default glibc gives blocks of the size of a record back to the system, which clears new pages for the next one.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST)
        mallopt(_TRIM_THRESHOLD, _KEPT)
