"""Noise levels of EchoMimicV3's samplers, and what is evaluated at each of them with which weight.

G branches of guidance, R rows of conditions that they take from.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int32

from actavatar_jax.diffusion.flow import shift_time
from actavatar_jax.diffusion.guidance import BOTH, NONE, TEXT, guidance
from actavatar_jax.diffusion.solvers import sigma_grid
from actavatar_jax.echomimic.options import EchoMimicSampling

FIRST = 0.999  # level at which UniPC's unwarped ones begin
LAST = 0.001  # level at which Euler's end


def noise_levels(s: EchoMimicSampling, variant: str) -> Float[np.ndarray, " n"]:
    """The levels of a solver, falling to 0: where the public code warps an end of the grid twice, so does this."""
    if s.solver == "euler":
        even = np.linspace(1.0, shift_time(LAST, s.shift), s.steps)
        return np.append(shift_time(even, s.shift), 0.0)
    if s.solver == "unipc" and variant == "preview":
        return shift_time(np.linspace(shift_time(FIRST, s.shift), 0.0, s.steps + 1), s.shift)
    if s.solver == "dpm++" and variant == "preview" and s.double_shift:
        return sigma_grid(s.solver, s.steps, s.shift**2)
    return sigma_grid(s.solver, s.steps, s.shift)


class Row(NamedTuple):
    """What one row of conditions is told: a prompt, and whether it hears."""

    negative: int | None  # how often the negative prompt's features are multiplied; None: it is the prompt
    hears: bool


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """The rows that have to be embedded, and of each step which of them its branches take and their weights."""

    rows: tuple[Row, ...]
    taken: Int32[np.ndarray, "steps G"]
    weights: Float32[np.ndarray, "steps G"]


def plan_guidance(s: EchoMimicSampling, variant: str) -> Plan:
    """What every step evaluates; branches that never have a weight are left out.

    preview: v(0,0) + text [v(T,0) - v(0,0)] + audio [v(T,A) - v(T,0)], scales that decay, v(0,0) of the negative prompt
    flash: v(T,0) + audio [v(T,A) - v(T,0)]
    """
    terms = [dict(zip(one.branches, one.weights, strict=True)) for one in _guidance_of_steps(s, variant)]
    branches = [branch for branch in (NONE, TEXT, BOTH) if any(branch in step for step in terms)]
    powers = negative_powers(s)
    told = [[Row(power if branch == NONE else None, branch[1]) for branch in branches] for power in powers]
    rows = tuple(dict.fromkeys(row for step in told for row in step))
    return Plan(
        rows,
        np.asarray([[rows.index(row) for row in step] for step in told], np.int32),
        np.asarray([[step.get(branch, 0.0) for branch in branches] for step in terms], np.float32),
    )


def _guidance_of_steps(s: EchoMimicSampling, variant: str):
    if s.text_guidance <= 1:
        return [guidance("joint", 1.0, 1.0)] * s.steps
    if variant == "flash":
        return [guidance("audio_only", 1.0, s.audio_guidance)] * s.steps
    factors = decay(s.steps) if s.decay else np.ones(s.steps)
    return [guidance("text_first", s.text_guidance * factor, s.audio_guidance * factor) for factor in factors]


def decay(steps: int) -> Float[np.ndarray, "{steps}"]:
    """What scales of guidance are multiplied by: from 1 to about a half."""
    left = (steps - np.arange(steps)) / steps
    return 0.5 + 0.25 * (1 - np.cos(np.pi * left**5))


def negative_powers(s: EchoMimicSampling) -> list[int]:
    """How often the negative prompt's features are multiplied at each step; in windows they are not."""
    if s.windows or s.negative_scale == 1:
        return [0] * s.steps
    if s.compounding:
        return [min(i, s.negative_steps) + 1 for i in range(s.steps)]
    return [int(i <= s.negative_steps) for i in range(s.steps)]


def multiplied(
    features: Float32[np.ndarray, "S D"], scale: float, times: int, dtype: str
) -> Float32[np.ndarray, "S D"]:
    """Features times a scale so often, rounded to `dtype` each time as the public code's bfloat16 is."""
    for _ in range(times):
        features = (features * np.float32(scale)).astype(np.dtype(dtype)).astype(np.float32)
    return features
