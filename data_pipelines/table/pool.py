"""Work handed to a pool a little at a time: all of a large table at once would fill the memory."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import Any


def map_unordered(pool: Executor, work: Callable[[Any], Any], items: Iterable[Any], most: int) -> Iterator[Any]:
    """What `work` makes of the items as it is done, in no order; at most `most` of them wait or run at a time."""
    running: set[Future] = set()
    for item in items:
        if len(running) == most:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
        running.add(pool.submit(work, item))
    while running:
        done, running = wait(running, return_when=FIRST_COMPLETED)
        yield from (future.result() for future in done)
