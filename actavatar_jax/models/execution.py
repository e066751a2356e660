"""How a network is computed, apart from what it is: nothing here is stored with weights or changes their names."""

import dataclasses
from typing import Any

import jax.numpy as jnp

from actavatar_jax.checks import Limit
from actavatar_jax.errors import InputError

DTYPES = ("float32", "bfloat16")
PRECISIONS = ("default", "high", "highest")
ATTENTIONS = ("auto", "xla", "chunked", "blocked", "cudnn", "splash")
PLATFORMS = (None, "cpu", "cuda", "tpu")
REMATS = ("none", "full", "attention", "offload")
SPLASH_BLOCKS = Limit(
    "three multiples of 128, the second one also of the third",
    lambda x: min(x) > 0 and not any(size % 128 for size in x) and x[1] % x[2] == 0,
)


@dataclasses.dataclass(frozen=True)
class Execution:
    """Each network reads those that it has a use for. InputError for a value that is none of them."""

    dtype: str = "float32"  # of matrix products and convolutions
    stream: str | None = None  # of the transformer's residual stream; None: as `dtype`
    # Passes of a product of float32 numbers: accelerators take one of bfloat16 (TPU) or TF32 (NVIDIA) by default, three
    # or TF32 at `high`, and exact float32 at `highest`.
    precision: str = "default"
    attention: str = "auto"  # see `models.attention`
    # Of splash attention: queries and keys in a block, and keys of it that are computed at once. What is fastest
    # differs from chip to chip; larger blocks need more of its fast memory.
    splash_blocks: tuple[int, int, int] = (512, 512, 512)
    platform: str | None = None  # cpu | cuda | tpu, that the program is made for; None: the one that is here
    # What the backward pass finds: none (everything kept) | full (every block is computed again) | attention (again but
    # for self-attention, which is kept) | offload (likewise, and it waits in the host's memory)
    remat: str = "none"

    def __post_init__(self):
        accepted = {
            "dtype": DTYPES,
            "stream": (None, *DTYPES),
            "precision": PRECISIONS,
            "attention": ATTENTIONS,
            "platform": PLATFORMS,
            "remat": REMATS,
        }
        for name, values in accepted.items():
            if (value := getattr(self, name)) not in values:
                raise InputError(f"The {name} is {value!r}; accepted is {', '.join(map(str, values))}.")
        if not SPLASH_BLOCKS.holds(self.splash_blocks):
            raise InputError(f"The splash_blocks are {self.splash_blocks}; accepted are {SPLASH_BLOCKS.words}.")

    @property
    def products(self) -> dict[str, Any]:
        """What the layers of Flax take: the type of their products and their precision."""
        return {"dtype": jnp.dtype(self.dtype), "precision": self.precision}


# What stays exact whatever the rest is computed in: time embedding, modulation, norms, head.
ISLAND = Execution(precision="highest")
