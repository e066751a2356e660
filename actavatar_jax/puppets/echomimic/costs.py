"""What a run costs: CPU seconds of this process and of those that it waited for, by what they were spent on."""

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

from actavatar_jax.storage import read_json, write_json

FILE = "costs.json"


@contextlib.contextmanager
def counted(folder: Path, name: str) -> Iterator[None]:
    """Adds what its body takes to `name` in the folder's costs, also where that ends with an error."""
    begin = _cpu_seconds()
    try:
        yield
    finally:
        costs = read_costs(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / FILE, costs | {name: costs.get(name, 0.0) + _cpu_seconds() - begin})


def read_costs(folder: Path) -> dict[str, float]:
    """CPU seconds by what they were spent on; empty where nothing was counted."""
    return read_json(folder / FILE) if (folder / FILE).is_file() else {}


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
