"""Noise levels that need no evaluation, because the velocity hardly changes between them.

Caches across steps (TeaCache, arXiv 2411.19108; EasyCache, 2507.02860; MagCache, 2506.09045) walk the whole grid of a
solver and give it an old velocity, or an old residual of the blocks, wherever the accumulated relative change stays
under a threshold. Here the same rule leaves those levels out of the grid, and the solver goes from one that is kept to
the next. For Euler both are the same, step by step: an old velocity over two short steps is one long step. For DPM++
they are about even. UniPC gains: it knows the true distance to the last velocity, where a repeated one tells it that
nothing changed. Nothing is stored between steps, and networks need no seam for it. docs/sampling.md has figures, also
of the blocks' residual.

The change is measured once per model, `VelocityPath`, and not while sampling. So the levels are known before the
program runs, and it has no branch that depends on data. On a mesh both sides of such a branch would hold exchanges, and
devices whose sums differ in the last bit could take different sides and wait for each other for ever. Also, how long a
video takes is known beforehand, and what it shows depends on no rounding and on no other sample of a batch.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from actavatar_jax.diffusion.sampler import Step
from actavatar_jax.diffusion.solvers import Sigmas, check_sigmas
from actavatar_jax.errors import InputError


class VelocityPath:
    """A callback of `sample` that measures how far the velocity has come: the sum of its relative changes.

    `points` are (sigma, way from the first level to this one), the sigmas falling. Latent frame 0 is a condition and
    does not count.
    """

    def __init__(self):
        self.points: list[tuple[float, float]] = []
        self._last = None

    def __call__(self, step: Step) -> None:
        velocity = step.velocity[:, 1:]
        way = 0.0 if self._last is None else self.points[-1][1] + relative_change(self._last, velocity)
        self.points.append((step.sigma, way))
        self._last = velocity


def relative_change(old: Float[Array, "*shape"], new: Float[Array, "*shape"]) -> float:
    """|new - old| / |old|, Euclidean."""
    return float(jnp.linalg.norm(jnp.ravel(new - old)) / jnp.linalg.norm(jnp.ravel(old)))


def keep_levels(sigmas: Sigmas, path: Sequence[tuple[float, float]], least: float) -> Float[np.ndarray, "kept"]:
    """The levels of a grid where the velocity has come at least `least` from that of the level kept before.

    The first level is always kept, and so is the final 0; `least` 0 keeps all. `path` is a model's `VelocityPath`,
    measured on any grid: between its levels the way is taken to grow evenly, beyond the last one as fast as before it.
    Raises InputError where no path was measured, or it is none.
    """
    sigmas, (levels, ways) = check_sigmas(sigmas), _check_path(path)
    slope = (ways[-1] - ways[-2]) / (levels[-2] - levels[-1])
    levels, ways = np.append(levels, 0.0), np.append(ways, ways[-1] + slope * levels[-1])
    reached = np.interp(sigmas, levels[::-1], ways[::-1])
    kept = [0]
    for i in range(1, len(sigmas) - 1):
        if reached[i] - reached[kept[-1]] >= least:
            kept.append(i)
    return sigmas[[*kept, -1]]


def _check_path(path: Sequence[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    if not path:
        raise InputError(
            "The model has no measured path of its velocity, by which levels are skipped; `actavatar calibrate` "
            "measures it."
        )
    levels, ways = np.asarray(path, np.float64).T
    falling = levels[0] <= 1 and levels[-1] > 0 and np.all(np.diff(levels) < 0)
    rising = np.all(np.isfinite(ways)) and np.all(np.diff(ways) >= 0)
    if len(levels) < 2 or not (falling and rising):
        raise InputError(
            "The model's path of its velocity is none: it needs two noise levels or more that fall from at most 1 and "
            "stay above 0, with ways that do not fall; `actavatar calibrate` measures it anew."
        )
    return levels, ways
