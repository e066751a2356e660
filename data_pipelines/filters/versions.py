"""What a filter's columns depend on beside the clip: the constants of its modules and the files of its models.

With another threshold or another model a filter has another version, and clips are measured again.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.table import digest

Constant = bool | int | float | str | tuple | list | np.ndarray


def make_version(*modules: str, models: Sequence[Path] = ()) -> str:
    """16 hexadecimal digits that name the constants of these loaded modules and the contents of the models."""
    constants = {name: _constants(vars(sys.modules[name])) for name in modules}
    return digest(json.dumps(constants, default=_to_plain, sort_keys=True), *models)


def _constants(names: Mapping[str, Any]) -> dict[str, Constant]:
    return {name: value for name, value in names.items() if name.isupper() and isinstance(value, Constant)}


def _to_plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a constant of a filter is {type(value).__name__}; accepted are numbers, texts, lists and arrays")
