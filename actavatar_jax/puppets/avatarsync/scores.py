"""What a head's video is worth, measured against the drawn one: pictures, lips, and whether still parts flicker.

F frames, s pixels a side.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict

import numpy as np
from jaxtyping import Bool, UInt8

from actavatar_jax.evaluation.measures import lip_correlation, psnr_of
from actavatar_jax.evaluation.report import Figure, mean_figure
from actavatar_jax.puppets.avatarsync.heads import MOUTH_BOX, Head
from actavatar_jax.puppets.judge.network import load_judge
from actavatar_jax.puppets.world.regions import still_pixels

Frames = UInt8[np.ndarray, "F s s 3"]

FIGURES = {
    "psnr_whole": "PSNR without the first frame, dB",
    "psnr_mouth": "PSNR around the mouth, dB",
    "psnr_keyframes": "PSNR of keyframes, dB",
    "psnr_between": "PSNR of frames between them, dB",
    "lips": "lip correlation at lag 0",
    "lag": "lag of the best correlation, frames",
    "flicker": "change of still pixels from frame to frame, levels",
}


def score(make: Callable[[Head], Frames], heads: Iterable[Head]) -> dict[str, Figure]:
    """The mean of each of `FIGURES` over clips where it is known."""
    judge, rows = load_judge(), []
    for head in heads:
        frames = make(head)
        lips = lip_correlation(judge(head.within(frames)).opening, head.opening)
        rows.append(measure(frames, head) | {"lips": lips.at_zero, "lag": float(lips.lag)})
    return {name: mean_figure([_known(row[name]) for row in rows]) for name in FIGURES}


def measure(frames: Frames, head: Head) -> dict[str, float]:
    """What needs no judge."""
    plan, count, side = head.plan.schedule, *frames.shape[:2]
    everywhere = np.ones(frames.shape[:3], bool)
    mouth = np.zeros_like(everywhere)
    top, bottom, left, right = (round(place * side) for place in MOUTH_BOX)
    mouth[:, top:bottom, left:right] = True
    on = np.isin(np.arange(count), [k.time for k in plan.keyframes])[:, None, None]
    between = (plan.t > 0)[:, None, None]
    masks = {"whole": everywhere, "mouth": mouth, "keyframes": everywhere & on, "between": everywhere & between}
    psnrs = {f"psnr_{name}": psnr_of(frames, head.frames, mask) for name, mask in masks.items()}
    return psnrs | {"flicker": flicker(frames, still_pixels(head.frames))}


def flicker(frames: Frames, still: Bool[np.ndarray, "s s"]) -> float:
    """Mean change from frame to frame of pixels that do not change in the true clip, in levels of 255; NaN where there
    are none."""
    if not still.any() or len(frames) < 2:
        return float("nan")
    return float(np.abs(np.diff(frames[:, still].astype(np.int16), axis=0)).mean())


def table(rows: Mapping[str, Mapping[str, Figure]]) -> str:
    """A line for every figure, and below it one for its 95 % interval; a column for every row."""
    width = max(map(len, FIGURES.values()))
    lines = [f"{'':{width}}" + "".join(f"{name:>16}" for name in rows)]
    for name, label in FIGURES.items():
        figures = [row[name] for row in rows.values()]
        lines.append(f"{label:{width}}" + "".join(f"{figure.value:16.2f}" for figure in figures))
        intervals = (f"{figure.low:.2f} to {figure.high:.2f}" for figure in figures)
        lines.append(" " * width + "".join(f"{interval:>16}" for interval in intervals))
    return "\n".join(lines)


def to_json(rows: Mapping[str, Mapping[str, Figure]]) -> dict[str, dict[str, dict[str, float | int | None]]]:
    """What is not a finite number becomes None."""
    return {
        row: {name: {key: _known(value) for key, value in asdict(figure).items()} for name, figure in figures.items()}
        for row, figures in rows.items()
    }


def _known(value: float | int) -> float | int | None:
    return value if np.isfinite(value) else None
