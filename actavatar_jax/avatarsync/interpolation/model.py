"""Interpolator: the frames between two keyframes at any times between them.

P pairs, n times of each, h w pixels. Source: VFIMamba (arXiv 2407.02315, MCG-NJU/VFIMamba); its public weights know the
middle alone, a network trained with other times knows those too.
"""

from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from actavatar_jax.avatarsync.interpolation.backbone import Backbone
from actavatar_jax.avatarsync.interpolation.config import InterpolatorConfig
from actavatar_jax.avatarsync.interpolation.flow import LocalRefinement, Motion, MotionHead
from actavatar_jax.avatarsync.interpolation.unet import UNet
from actavatar_jax.models.execution import Execution
from actavatar_jax.models.wan_vae.parts import Numbered

MULTIPLE = 32  # of sides; other pictures are continued beyond their edges
STAGES = (4, 3)  # whose features the heads see, coarse first
SCALES = (2, 1)  # of the local refinements


class Stages(NamedTuple):
    """The frames [P, n, h, w, 3], and what the blends of both heads were before, for losses of each stage."""

    frames: Float[Array, "P n h w 3"]
    blends: tuple[Float[Array, "P n h w 3"], ...]


class Interpolator(nnx.Module):
    """Features of a pair are made once, the rest for all times at once."""

    def __init__(self, config: InterpolatorConfig, execution: Execution = Execution(), *, rngs: nnx.Rngs):  # noqa: B008 - frozen
        c, e = config, execution
        self.backbone = Backbone(c, e, rngs=rngs)
        self.heads = Numbered(MotionHead(stage, c, e, first=stage == STAGES[0], rngs=rngs) for stage in STAGES)
        self.local = Numbered(LocalRefinement(scale, c, e, rngs=rngs) for scale in SCALES)
        self.unet = UNet(c, e, rngs=rngs)

    def __call__(
        self, first: Float[Array, "P h w 3"], second: Float[Array, "P h w 3"], t: Float[Array, "P n"]
    ) -> Stages:
        """Frames at times t, from 0 (first) to 1 (second). Pixels in [0, 1]."""
        (P, n), (height, width) = t.shape, first.shape[1:3]
        first, second = _continued(first), _continued(second)
        features = [repeat(level, n) for level in self.backbone(jnp.stack([first, second], axis=1))]
        first, second = repeat(first, n), repeat(second, n)
        time = jnp.broadcast_to(t.reshape(-1, 1, 1, 1), (*first.shape[:3], 1)).astype(first.dtype)

        motion, blends = self.find_motion(first, second, features, time)
        for refine in self.local.in_order():
            motion = motion.add(refine(first, second, motion))
        frames = jnp.clip(motion.blend(first, second) + self.unet(first, second, motion, features), 0, 1)

        def cut(x: Array) -> Array:
            return x[:, :height, :width].reshape(P, n, height, width, 3)

        return Stages(cut(frames), tuple(map(cut, blends)))

    def find_motion(
        self,
        first: Float[Array, "B h w 3"],
        second: Float[Array, "B h w 3"],
        features: list[Array],
        time: Float[Array, "B h w 1"],
    ) -> tuple[Motion, list[Array]]:
        """Motion by both heads, and the blends of each; here alone t is an input."""
        motion, blends = None, []
        for head, stage in zip(self.heads.in_order(), STAGES, strict=True):
            seen = jnp.concatenate([features[stage][:, 0], features[stage][:, 1]], axis=-1)
            if motion is None:
                motion = head(seen, [first, second, time], None)
            else:
                motion = motion.add(head(seen, [*motion.inputs(first, second), time], motion.flow))
            blends.append(motion.blend(first, second))
        return motion, blends


def repeat(x: Float[Array, "P *rest"], times: int) -> Float[Array, "B *rest"]:
    """Each pair's, for all times of it."""
    return jnp.repeat(x, times, axis=0)


def _continued(x: Float[Array, "P h w C"]) -> Float[Array, "P H W C"]:
    """Pixels of the lower and the right edge go on to the next sides that fit."""
    return jnp.pad(x, ((0, 0), (0, -x.shape[1] % MULTIPLE), (0, -x.shape[2] % MULTIPLE), (0, 0)), mode="edge")
