"""Size buckets: the few picture sizes that all clips are brought to, so that a batch has one shape."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from actavatar_jax.errors import InputError

# Equal area (about 704 x 1280), sides multiples of 32 = 16 (autoencoder) x 2 (patch).
_LANDSCAPE = ((704, 1280), (768, 1216), (832, 1088), (896, 1024), (960, 960))
DEFAULT_SIZES = ",".join(
    f"{height}x{width}" for height, width in dict.fromkeys(_LANDSCAPE + tuple((w, h) for h, w in reversed(_LANDSCAPE)))
)


@dataclass(frozen=True, order=True)
class Bucket:
    """One shape of video: height and width in pixels (multiples of 32) and a number of frames 4k + 1."""

    height: int
    width: int
    frames: int

    def __post_init__(self):
        if min(self.height, self.width) < 32 or self.height % 32 or self.width % 32:
            raise InputError(f"bucket {self.height}x{self.width}: both sides must be positive multiples of 32")
        if self.frames < 5 or self.frames % 4 != 1:
            raise InputError(f"{self.frames} frames: a window must have 4k + 1 frames, at least 5 (5, 9, ..., 125)")

    def __str__(self) -> str:
        return f"{self.height}x{self.width}x{self.frames}"


def parse_buckets(sizes: str, frames: int) -> tuple[Bucket, ...]:
    """Reads a comma-separated list of HEIGHTxWIDTH, as "128x128,128x224", for windows of `frames` frames."""
    buckets = []
    for size in sizes.split(","):
        sides = size.strip().lower().split("x")
        if len(sides) != 2 or not all(side.isdecimal() for side in sides):
            raise InputError(f"bucket list '{sizes}': '{size.strip()}' is not HEIGHTxWIDTH, as in 128x224")
        buckets.append(Bucket(int(sides[0]), int(sides[1]), frames))
    return tuple(dict.fromkeys(buckets))


def choose_bucket(height: int, width: int, buckets: Sequence[Bucket]) -> Bucket:
    """The bucket whose aspect ratio is nearest (in the logarithm); the first of equals."""
    return min(buckets, key=lambda bucket: abs(math.log(height / width) - math.log(bucket.height / bucket.width)))
