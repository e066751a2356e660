"""Memory of trainings whose programs run on the CPU. What records take is another matter: `data_pipelines.loading`."""

import ctypes

import jax

# Of glibc's malloc.h: how many arenas there are, how many blocks come by mmap, when free memory goes back.
_ARENA_MAX, _MMAP_MAX, _TRIM_THRESHOLD = -8, -4, -1
_ONE, _ANY, _NONE, _NEVER = 1, 0, 0, -1


def keep_memory_of_steps() -> None:
    """Has this process keep memory that its programs set free; to be called before anything asks JAX for devices.

    On the CPU a step takes hundreds of megabytes for what it computes on the way, and sets them free. glibc gives
    blocks of this size back to the system, which hands them out again page by page, as zeros: a fifth of a small
    training's time. A loader of shards, opened later, has what is more than 1 GiB at the end of the heap given back
    (`data_pipelines.loading.memory`). Where programs run on accelerators, whose memory is another one, all stays as it
    is, and without glibc too.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(
        _ARENA_MAX, _ONE
    )  # large blocks of a second one come by mmap anyway; the threads that JAX starts choose now
    if jax.default_backend() != "cpu":
        mallopt(_ARENA_MAX, _ANY)
        return
    mallopt(_MMAP_MAX, _NONE)
    mallopt(_TRIM_THRESHOLD, _NEVER)
