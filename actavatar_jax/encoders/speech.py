"""Speech features: the compiled audio encoder, and which of them are accepted. F video frames, E its width."""

import functools
from pathlib import Path
from typing import Any

import jax
from jaxtyping import Array, Float, Float32

from actavatar_jax.errors import InputError
from actavatar_jax.functional import Network
from actavatar_jax.models import standardise
from actavatar_jax.storage import read_json


@functools.partial(jax.jit, static_argnames=("network", "frames"))
def encode_speech(
    network: Network, params: Any, samples: Float[Array, " n"], frames: int
) -> Float32[Array, "F layers E"]:
    # State 0, the input of the first layer, is dropped (MultiTalk).
    return network.bind(params)(standardise(samples)[None], frames=frames)[0, :, 1:]


def check_standardised(path: Path) -> None:
    """Refuses an audio encoder that was trained on raw speech; without the file it counts as one for standardised."""
    if path.is_file() and not read_json(path).get("do_normalize", True):
        raise InputError(f"{path} says do_normalize false; accepted are audio encoders trained on standardised speech.")
