"""What people may ask for when a model is loaded, checked before anything of it is read."""

from typing import Any

import numpy as np

from actavatar_jax.models import Execution
from actavatar_jax.weights.quantized import check_form
from actavatar_jax.weights.residence import parse_size


def check_loading(
    dtype: str = "float32", attention: str = "auto", quantize: str | None = None, memory: str = "auto", **_: Any
) -> None:
    """InputError for options of `ActAvatarPipeline.from_pretrained` that there are none of; others do not count."""
    Execution(dtype=dtype, attention=attention)
    if quantize is not None:
        check_form(quantize)
    if memory != "auto":
        parse_size(memory)


def checked_dtype(dtype: Any) -> np.dtype | None:
    """The type in which parameters are read and computed with, of its name or of NumPy or JAX; None stays None.

    InputError for another than float32 and bfloat16.
    """
    if dtype is None:
        return None
    name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    Execution(dtype=name)
    return np.dtype(name)
