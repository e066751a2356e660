"""What processes tell each other on their hosts: whether all is well, and what each of them has to say."""

import contextlib
from collections.abc import Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils

from actavatar_jax.errors import InputError


@contextlib.contextmanager
def agreed() -> Iterator[None]:
    """What is wrong input for one process ends all of them with its InputError: none is left to wait for the others.

    Every process comes here; inside, none waits for another.
    """
    problem = None
    try:
        yield
    except InputError as error:
        problem = error
    for process, text in enumerate(on_each_host(str(problem or ""))):
        if text:
            raise problem or InputError(f"{text} So says process {process}.")


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
