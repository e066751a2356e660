"""What processes tell each other on their hosts: whether all is well, and what each of them has to say."""

import contextlib
from collections.abc import Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils

from actavatar_jax.errors import InputError, OtherProcessError, first_line

_WRONG, _OTHER = "wrong", "other"  # kinds of failure


@contextlib.contextmanager
def agreed() -> Iterator[None]:
    """What fails in one process ends all of them: none is left to wait for the others.

    Every process comes here; inside, none waits for another. Raises what was raised inside; in the others InputError
    where that was one, else OtherProcessError, with the process and what it said.
    """
    problem = None
    try:
        yield
    except Exception as error:  # noqa: BLE001 - the others wait, whatever it is
        problem = error
    for process, said in enumerate(on_each_host(_said(problem))):
        if said:
            raise problem or _of_another(process, said)


def on_all_hosts(ok: bool) -> bool:
    """Whether `ok` holds in every process; all of them must ask."""
    return ok if jax.process_count() == 1 else bool(multihost_utils.process_allgather(np.asarray(ok)).all())


def on_each_host(text: str) -> list[str]:
    """The `text` of every process; all of them must ask."""
    if jax.process_count() == 1:
        return [text]
    ours = np.frombuffer(text.encode(), np.uint8)
    lengths = multihost_utils.process_allgather(np.asarray(len(ours), np.int32))
    padded = np.zeros(max(lengths.max(), 1), np.uint8)
    padded[: len(ours)] = ours
    texts = multihost_utils.process_allgather(padded)
    return [row[:length].tobytes().decode() for row, length in zip(texts, lengths, strict=True)]


def all_arrive(name: str, seconds: float) -> bool:
    """Whether every process comes here within so many seconds of this one; `name` is used once.

    Hosts ask each other, not their devices: those of the others may be in a program that never ends.
    """
    if jax.process_count() == 1:
        return True
    from orbax.checkpoint import multihost  # takes long to import

    try:
        multihost.get_barrier_sync_fn()(key=name, timeout_ms=round(1000 * seconds))
    except jax.errors.JaxRuntimeError:
        return False
    return True


def _said(problem: Exception | None) -> str:
    if problem is None:
        return ""
    return f"{_WRONG} {problem}" if isinstance(problem, InputError) else f"{_OTHER} {first_line(problem)}"


def _of_another(process: int, said: str) -> Exception:
    kind, _, text = said.partition(" ")
    if kind == _WRONG:
        return InputError(f"{text} So says process {process}.")
    return OtherProcessError(f"Process {process} failed: {text}")
