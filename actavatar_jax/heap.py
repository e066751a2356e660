"""Freed memory that this process keeps for its next blocks; with glibc, elsewhere all stays as it is.

glibc gives large blocks back to the system, which hands them out again page by page, as zeros.
"""

import ctypes
import functools

# Of glibc's malloc.h: when free memory goes back, which blocks come by mmap, how many, how many arenas there are.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -3, -4, -8
_KEPT = 1 << 30  # bytes at the end of the heap that are not given back
_LARGEST = 32 << 20  # bytes of a block that comes from the heap, the most that glibc accepts
_NEVER, _NONE, _ANY, _ONE = -1, 0, 0, 1

_keeps_all = False


@functools.cache
def keep_memory_of_records() -> None:
    """Keeps up to 1 GiB: new pages for every record would cost a loader more time than reading them."""
    _mallopt(_MMAP_THRESHOLD, _LARGEST)
    if not _keeps_all:
        _mallopt(_TRIM_THRESHOLD, _KEPT)


def keep_memory_of_steps() -> None:
    """Keeps all, where programs run on the CPU; to be called before anything asks JAX for devices.

    A step takes hundreds of megabytes for what it computes on the way, and sets them free: new pages would be a fifth
    of a small training's time. Programs of accelerators have another memory.
    """
    import jax  # not for those who only read records

    global _keeps_all
    # Large blocks of a second arena come by mmap whatever is set, and threads that JAX starts choose theirs now.
    _mallopt(_ARENA_MAX, _ONE)
    _keeps_all = jax.default_backend() == "cpu"
    if not _keeps_all:
        _mallopt(_ARENA_MAX, _ANY)
        return
    _mallopt(_MMAP_MAX, _NONE)
    _mallopt(_TRIM_THRESHOLD, _NEVER)


def _mallopt(option: int, value: int) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(option, value)
