"""What `python launch/bench.py avatarsync` measures: time against the number of units, side by side and one by one."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from actavatar_jax.avatarsync import Alignment, AvatarSyncPipeline, plan_speech, sample_keyframes, seen_units
from actavatar_jax.avatarsync.interpolation import stream_frames
from actavatar_jax.functional import random_key
from actavatar_jax.media import FPS
from actavatar_jax.pipeline import ActAvatarPipeline
from actavatar_jax.puppets.avatarsync import makers
from actavatar_jax.puppets.avatarsync.heads import make_head
from actavatar_jax.puppets.dataset import TEST_SEED
from actavatar_jax.puppets.world.clips import World
from actavatar_jax.speech import Phoneme

EACH = 0.16  # seconds of a unit: four frames


@dataclasses.dataclass(frozen=True)
class Row:
    """Median seconds for a clip of so many units."""

    units: int
    side_by_side: float  # all keyframes at once
    one_by_one: float  # one keyframe after the other
    pairs: float  # frames between them, eight pairs at a time
    single_pairs: float  # one pair at a time


def measure(pipeline: AvatarSyncPipeline, counts: Sequence[int], turns: int) -> Iterator[Row]:
    """Both ways take turns; each runs once before, uncounted."""
    for count in counts:
        plan = plan_speech(Alignment(tuple(_phonemes(count))))
        keyframes = np.zeros((len(plan.schedule.keyframes), *_picture(pipeline)), np.float32)
        ways: list[Callable] = [
            lambda count=count: _draw(pipeline, np.arange(count)),
            lambda count=count: [_draw(pipeline, np.asarray([number])) for number in range(count)],
            lambda plan=plan, keyframes=keyframes: list(stream_frames(keyframes, plan.schedule, pipeline.interpolate)),
            lambda plan=plan, keyframes=keyframes: list(
                stream_frames(keyframes, plan.schedule, pipeline.interpolate, batch=1)
            ),
        ]
        yield Row(count, *_medians(ways, turns))


def compare(pipeline: AvatarSyncPipeline, rival: ActAvatarPipeline, world: World, turns: int) -> dict[str, float]:
    """Median seconds of each system for a second of video of the same presenter and sentence."""
    head = make_head(TEST_SEED, world, _picture(pipeline)[0], level=pipeline.level)
    seconds = len(head.frames) / FPS
    ways = {"AvatarSync": makers.whole(pipeline), "ActAvatar": makers.diffusion(rival)}
    taken = _medians([lambda make=make: make(head) for make in ways.values()], turns)
    return {name: one / seconds for name, one in zip(ways, taken, strict=True)}


def exponent(rows: Sequence[Row], name: str) -> float:
    """The power of the number of units with which a time grows: the slope of a line through the logarithms."""
    units, seconds = ([np.log(getattr(row, field)) for row in rows] for field in ("units", name))
    return float(np.polyfit(units, seconds, 1)[0])


def _medians(ways: Sequence[Callable], turns: int) -> list[float]:
    for way in ways:
        way()
    taken: list[list[float]] = [[] for _ in ways]
    for _ in range(turns):
        for way, seconds in zip(ways, taken, strict=True):
            start = time.perf_counter()
            way()
            seconds.append(time.perf_counter() - start)
    return [statistics.median(seconds) for seconds in taken]


def _draw(pipeline: AvatarSyncPipeline, numbers: np.ndarray) -> np.ndarray:
    part = pipeline.painter.keyframes
    reference = jnp.zeros((1, int(np.prod(part.config.tokens))), jnp.int32)
    seen = seen_units(jnp.asarray(4 + numbers % 40)[None], part.config.visible)
    drawn = sample_keyframes(part.network, part.params, reference, seen, random_key(0)[None], pipeline.parts.sampling)
    return np.asarray(jax.block_until_ready(drawn))


def _picture(pipeline: AvatarSyncPipeline) -> tuple[int, int, int]:
    stride = pipeline.parts.tokenizer.config.stride
    return (*(stride * count for count in pipeline.parts.keyframes.config.tokens), 3)


def _phonemes(count: int) -> Iterator[Phoneme]:
    """Lips shut and open in turn."""
    for number in range(count):
        yield Phoneme("ma"[number % 2], number * EACH, (number + 1) * EACH)
