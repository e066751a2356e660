"""Processes that measure clips: one that dies or hangs costs its clip, at the second time, and nothing else."""

import contextlib
import multiprocessing
import os
import threading
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from actavatar_jax.errors import InputError
from data_pipelines.table.extras import import_extra
from data_pipelines.table.measuring import Failure, Measuring, Task
from data_pipelines.table.report import CRASHED, TIMED_OUT


def measure_in_pool(
    measuring: Measuring, tasks: Iterator[Task], workers: int, timeout: float
) -> Iterator[Failure | None]:
    """What `measuring` says of the clips as they are done, in spawned processes, each clip within `timeout` seconds.

    A clip whose worker died, or was ended because of the time, is given to another one; when that happens again, its
    row says so. Raises InputError where workers die before they begin.
    """
    with contextlib.closing(WorkerPool(workers, timeout)) as pool:
        yield from pool.measure(measuring, tasks)


class WorkerPool:
    """Spawned processes, until `close`."""

    def __init__(self, workers: int, timeout: float):
        self.workers, self.timeout = workers, timeout
        self._pool = _open_pool(workers)

    def measure(self, measuring: Measuring, tasks: Iterator[Task]) -> Iterator[Failure | None]:
        """As `measure_in_pool`; what does not go to its end leaves a pool that can only be closed."""
        expired = import_extra("pebble").ProcessExpired
        deaths, waiting, running, broken = Counter(), deque[Task](), {}, 0
        while True:
            while len(running) < 2 * self.workers and (task := waiting.popleft() if waiting else next(tasks, None)):
                running[self._pool.schedule(measuring, [task], timeout=self.timeout)] = task
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task = running.pop(future)
                try:
                    yield future.result()
                    broken = 0
                except (expired, TimeoutError) as error:
                    deaths[task.clip.id] += 1
                    how = TIMED_OUT if isinstance(error, TimeoutError) else CRASHED
                    if deaths[task.clip.id] <= 2:
                        waiting.append(Task(task.clip, how if deaths[task.clip.id] == 2 else task.fatal))
                    else:  # not even the state of its file could be read
                        yield measuring.give_up(task, how)
                except BrokenProcessPool as error:  # the last one that worked died, or all of them at their start
                    waiting.extend([task, *running.values()])
                    running.clear()
                    self.close()
                    broken += 1
                    if broken > 2:
                        raise InputError(
                            "The processes that measure clips die before they begin; what they said is above, and a "
                            "script that starts them needs a main guard."
                        ) from error
                    self._pool = _open_pool(self.workers)
                    break

    def close(self) -> None:
        self._pool.stop()
        self._pool.join()


def _open_pool(workers: int) -> Any:
    context = multiprocessing.get_context("spawn")
    return import_extra("pebble").ProcessPool(workers, initializer=_end_with_parent, context=context)


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever, or go on writing beside the next run."""

    def watch():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
