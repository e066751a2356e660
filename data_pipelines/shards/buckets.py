"""Size buckets: the few picture sizes that all clips are brought to, so that a batch has one shape."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from actavatar_jax.errors import InputError

MOST_ENLARGED = 1.1  # times a clip's sides; beyond, a model learns what an interpolation looks like

# Two areas, of 720p and 480p; sides are multiples of 32 = 16 (autoencoder) x 2 (patch).
_LANDSCAPE = (
    ((704, 1280), (768, 1216), (832, 1088), (896, 1024), (960, 960)),
    ((480, 832), (512, 800), (544, 736), (608, 672), (640, 640)),
)
DEFAULT_SIZES = "/".join(
    ",".join(f"{h}x{w}" for h, w in dict.fromkeys(area + tuple((w, h) for h, w in reversed(area))))
    for area in _LANDSCAPE
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


Ladder = tuple[tuple[Bucket, ...], ...]  # buckets of one area each, the largest area first


def parse_buckets(sizes: str, frames: int) -> Ladder:
    """Reads HEIGHTxWIDTH of one area with commas between, and areas with slashes between, for windows of `frames`.

    "704x1280,960x960/480x832,640x640" are two areas of two shapes each.
    """
    areas = []
    for area in sizes.split("/"):
        buckets = []
        for size in area.split(","):
            sides = size.strip().lower().split("x")
            if len(sides) != 2 or not all(side.isdecimal() for side in sides):
                raise InputError(f"bucket list '{sizes}': '{size.strip()}' is not HEIGHTxWIDTH, as in 128x224")
            buckets.append(Bucket(int(sides[0]), int(sides[1]), frames))
        areas.append(tuple(dict.fromkeys(buckets)))
    return tuple(sorted(areas, key=lambda area: -max(bucket.height * bucket.width for bucket in area)))


def choose_bucket(height: int, width: int, ladder: Ladder) -> Bucket | None:
    """Of each area the bucket with the nearest shape; the largest that enlarges the picture at most 1.1 times.

    None where the picture is too small for all of them.
    """
    nearest = (nearest_bucket(height, width, area) for area in ladder)
    return next((one for one in nearest if measure_enlargement(height, width, one) <= MOST_ENLARGED), None)


def nearest_bucket(height: int, width: int, buckets: Sequence[Bucket]) -> Bucket:
    """The bucket whose aspect ratio is nearest (in the logarithm); the first of equals."""
    return min(buckets, key=lambda bucket: abs(math.log(height / width) - math.log(bucket.height / bucket.width)))


def measure_enlargement(height: int, width: int, bucket: Bucket) -> float:
    """By how much a picture grows that covers the bucket; below 1 it shrinks."""
    return max(bucket.height / height, bucket.width / width)
