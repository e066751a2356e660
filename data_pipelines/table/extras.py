"""Packages of the extra `data`, imported only where something needs them."""

import importlib
from functools import cache
from types import ModuleType

from actavatar_jax.errors import InputError


@cache
def import_extra(module: str) -> ModuleType:
    """A package that only filters and trimming need. Raises InputError where it is not installed."""
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise InputError(f'this needs {module}: pip install "actavatar-jax[data]" ({error})') from error
    if module == "cv2":
        found.setNumThreads(1)  # workers are processes
        found.utils.logging.setLogLevel(found.utils.logging.LOG_LEVEL_ERROR)  # its new engine warns of itself
    return found
