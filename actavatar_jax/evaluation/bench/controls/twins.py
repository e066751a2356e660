"""Twins of a video that are spoilt in one way: frames by frames, sound by sound, prompts by prompts.

H, W sides of a picture, n samples, k channels.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
import scipy.ndimage
from jaxtyping import UInt8

from actavatar_jax.evaluation.bench.items import BenchItem
from actavatar_jax.media import FPS, Sound

Frames = Iterable[UInt8[np.ndarray, "H W 3"]]
SpoilFrames = Callable[[Frames], Frames]
SpoilSound = Callable[[Sound], Sound | None]
SpoilItem = Callable[[BenchItem], BenchItem | None]  # None: the way of spoiling changes nothing of it

VERSION = 1  # of the ways below: another one makes other twins of the same videos
LATE = 5  # frames
BLUR = 64  # standard deviations in the shorter side of a picture


def freeze(frames: Frames) -> Iterator[np.ndarray]:
    """The first frame, as often as there are frames."""
    first = None
    for frame in frames:
        first = frame if first is None else first
        yield first


def turn_back(frames: Frames) -> Iterator[np.ndarray]:
    """The last frame first. They wait on the disk: a minute of them is more than memory has."""
    with tempfile.TemporaryFile() as file:
        shape, count = (), 0
        for frame in frames:
            shape, count = frame.shape, count + 1
            file.write(np.ascontiguousarray(frame))
        size = int(np.prod(shape))
        for number in reversed(range(count)):
            file.seek(number * size)
            yield np.frombuffer(file.read(size), np.uint8).reshape(shape)


def blur(frames: Frames) -> Iterator[np.ndarray]:
    """As far out of focus that faces are still found, and nothing is sharp."""
    for frame in frames:
        sigma = min(frame.shape[:2]) / BLUR
        yield scipy.ndimage.gaussian_filter(frame, (sigma, sigma, 0))


def silence(sound: Sound) -> None:
    """No sound at all."""


def delay(sound: Sound) -> Sound:
    """Later by `LATE` frames; its end is cut off."""
    late = LATE * sound.rate // FPS
    return Sound(np.pad(sound.samples, ((late, 0), (0, 0)))[: len(sound.samples)], sound.rate)


def swap_actions(item: BenchItem) -> BenchItem | None:
    """Each window with the action of the next one, the last with that of the first."""
    phases = item.phases
    if len({phase.action for phase in phases}) < 2:
        return None
    actions = [phases[(number + 1) % len(phases)] for number in range(len(phases))]
    changed = (
        replace(phase, action=other.action, body_part=other.body_part)
        for phase, other in zip(phases, actions, strict=True)
    )
    return replace(item, phases=tuple(changed))
