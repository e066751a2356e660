"""Items that a thread makes while whoever takes them is busy with those before."""

import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """The items of an iterator, in order, of which `most` are made and wait at a time; to be closed.

    What is raised on the way is raised where the item is taken. `busy`, `waited`: seconds that the items took to be
    made, and that whoever takes them waited.
    """

    def __init__(self, items: Iterator[T], most: int = 1):
        self.busy = self.waited = 0.0
        self._items, self._made, self._room = items, queue.Queue(), threading.Semaphore(most)
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="ahead", daemon=True)
        self._thread.start()

    def __iter__(self) -> "Ahead[T]":
        return self

    def __next__(self) -> T:
        start = time.perf_counter()
        item, error = self._made.get()
        self.waited += time.perf_counter() - start
        if error is not None:
            self._made.put((None, error))  # for who asks again
            raise error
        self._room.release()
        return item

    def close(self) -> None:
        """Ends the thread once the item that is being made is done."""
        self._stopped = True
        self._room.release()
        self._thread.join()

    def _run(self) -> None:
        with contextlib.closing(self._items):
            while self._room.acquire() and not self._stopped:
                start = time.perf_counter()
                try:
                    made = next(self._items), None
                except BaseException as error:  # noqa: BLE001  (StopIteration, too, belongs to who takes the items)
                    made = None, error
                self.busy += time.perf_counter() - start
                self._made.put(made)
                if made[1] is not None:
                    return
