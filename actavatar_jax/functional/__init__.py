"""Networks as pure functions of plain parameter dicts, and the forms that a kernel in such a dict may take."""

from actavatar_jax.functional.networks import (
    RUN_ONCE,
    Network,
    Params,
    abstract,
    bind,
    cast,
    count,
    digest,
    flatten,
    init,
    split,
    unflatten,
)
from actavatar_jax.functional.seeds import SEEDS, check_seed, random_key

__all__ = [
    "RUN_ONCE",
    "SEEDS",
    "Network",
    "Params",
    "abstract",
    "bind",
    "cast",
    "check_seed",
    "count",
    "digest",
    "flatten",
    "init",
    "random_key",
    "split",
    "unflatten",
]
