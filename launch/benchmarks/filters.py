"""What filters cost, and how much of it their networks do, which an accelerator could take over."""

import contextlib
import dataclasses
import functools
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jax
import onnx

from actavatar_jax.errors import InputError
from actavatar_jax.media import probe
from actavatar_jax.onnx_files import count_products
from actavatar_jax.planning.flops import program_flops
from data_pipelines.table import Clip, Skip, Step, clip_path, read_manifest

CLIP = 5.0  # seconds


@dataclasses.dataclass
class Cost:
    """Of a clip of 5 s: seconds of a processor, those of them in networks, and FLOPs of these."""

    seconds: float
    inside: float
    flops: float


@dataclasses.dataclass
class Meter:
    """Seconds of the processor that networks have taken, and their FLOPs."""

    seconds: float = 0.0
    flops: float = 0.0

    def watch(self, network: Callable, count: Callable[..., float]) -> Callable:
        """A network whose calls are counted; `count` has the FLOPs of one, by its arguments."""

        @functools.wraps(network)
        def counted(*arguments: Any) -> Any:
            start = time.process_time()
            result = jax.block_until_ready(network(*arguments))
            self.seconds += time.process_time() - start
            self.flops += count(*arguments)
            return result

        return counted


def prepared_clips(clip_dir: Path, count: int) -> list[Clip]:
    """The first clips of a prepared folder. Raises InputError where there are fewer."""
    prepared = (clip for clip in read_manifest(clip_dir) if clip_path(clip, clip_dir).is_file())
    clips = list(itertools.islice(prepared, count))
    if len(clips) < count:
        raise InputError(f"{clip_dir}: --clips {count}, but {len(clips)} clips are prepared there")
    return clips


def cost_of(step: Step, clips: Sequence[Clip], clip_dir: Path) -> Cost | None:
    """What a filter costs; None where it measures nothing without a model. The first clip is measured once before,
    uncounted: then models are loaded, and their products for its shapes known."""
    with metered_networks() as meter:
        if measured(step, clips[0], clip_dir) == {"available": False}:
            return None
        meter.seconds = meter.flops = 0.0
        start = time.process_time()
        for clip in clips:
            measured(step, clip, clip_dir)
        seconds = time.process_time() - start
    part = CLIP / sum(probe(clip_path(clip, clip_dir)).duration for clip in clips)
    return Cost(seconds * part, meter.seconds * part, meter.flops * part)


def measured(step: Step, clip: Clip, clip_dir: Path) -> dict:
    """The clip's columns. Raises InputError where there are none, as the time for it would be no measure."""
    try:
        return step.measure(clip, clip_dir)
    except Skip as skip:
        raise InputError(f"{step.name} skips the clip {clip.id}: {skip.detail or skip.reason}") from skip


@contextlib.contextmanager
def metered_networks() -> Iterator[Meter]:
    """Counts what ONNX files and SyncNet compute, within the block."""
    import onnxruntime

    from actavatar_jax.synchrony import syncnet

    meter, watched = Meter(), [(onnxruntime.InferenceSession, "run", _onnx_flops)]
    watched += [(syncnet, name, _program_flops(getattr(syncnet, name))) for name in ("_see", "_see_apart", "_hear")]
    with contextlib.ExitStack() as stack:
        for owner, name, count in watched:
            stack.enter_context(patch.object(owner, name, meter.watch(getattr(owner, name), count)))
        yield meter


def _onnx_flops(session: Any, _: Any, inputs: dict[str, Any], *__: Any) -> float:
    return 2.0 * _products(session._model_path, tuple((name, array.shape) for name, array in inputs.items()))


@functools.cache
def _products(path: str, shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> int:
    return count_products(onnx.load(path), dict(shapes))


def _program_flops(program: Any) -> Callable[..., float]:
    counts: dict[tuple[int, ...], float] = {}  # by the shape of what goes in

    def count(network: Any, params: Any, values: Any) -> float:
        if values.shape not in counts:
            counts[values.shape] = program_flops(program.trace(network, params, values).jaxpr)
        return counts[values.shape]

    return count
