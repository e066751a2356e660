"""What is known of a clip beside an answer about it."""

import math
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from actavatar_jax.prompt import Tokenizer


@dataclass(frozen=True, eq=False)
class Scene:
    """What is known of a clip from elsewhere."""

    seconds: float
    motion: Float[np.ndarray, " n"] | None = None  # speed of the hands in n equal steps of the clip; NaN: not seen
    hidden: frozenset[str] = field(default_factory=frozenset)  # of 'hands' and 'legs', what the picture does not show
    tokenizer: Tokenizer | None = None  # the text encoder's

    @property
    def end(self) -> float:
        """The end in tenths of a second, rounded up: the last frame may be part of an act."""
        return math.ceil(self.seconds * 10 - 1e-6) / 10
