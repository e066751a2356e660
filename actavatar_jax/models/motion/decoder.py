"""MotionDecoder: draws four frames from their code and the clean first frame of their clip.

A U-Net sees the first frame alone; where it is coarsest the code tells it what has moved. For every pixel of every
frame it then says how much to take of the first frame as it is, of the first frame warped, and of a palette: colours
that it found in the first frame, and a few that it always has. What stands still is copied, what moves keeps its edges,
and what comes into view has the colours of this presenter.
N groups of four frames, h w pixels, H W places of the code, I J and P Q places of other grids, C D channels, K colours,
M warped pictures.
"""

import dataclasses
import itertools
import typing
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from actavatar_jax.checks import Limit, check_fields
from actavatar_jax.models import layers
from actavatar_jax.models.limits import SIDE, SIZE
from actavatar_jax.models.motion.encoder import one_length
from actavatar_jax.models.motion.layers import EPSILON, Convolution, Down, Head, ResidualBlock, Up, in_order
from actavatar_jax.models.motion.pixels import CELL, FRAMES, from_cells, from_planes, to_cells, to_planes, warp

STILL_LOGIT = 5.0  # before training nine tenths of every pixel are the first frame
SHARPNESS = 10.0  # with which colours near to one that is searched are found


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class MotionDecoderConfig:
    """`widths` are the channels of the stages, from fine to coarse, each of half the side of the one before."""

    widths: tuple[int, ...] = (80, 112, 128)
    blocks: int = 3  # where the code comes in
    warps: int = 2  # of the first frame, for each of the four frames
    found: int = 10  # colours of the first frame
    fixed: int = 4  # colours of every clip

    LIMITS: typing.ClassVar[dict[str, Limit]] = {
        "widths": Limit("2 to 16 widths above 0", lambda x: 2 <= len(x) <= 16 and all(map(SIZE.holds, x))),
        **dict.fromkeys(("blocks", "warps", "found", "fixed"), SIDE),
    }

    def __post_init__(self):
        check_fields(self, "motion decoder's ", **self.LIMITS)

    @property
    def coarsest(self) -> int:
        """Pixels a side of a cell of the coarsest stage."""
        return CELL * 2 ** (len(self.widths) - 1)


class Scene(NamedTuple):
    """What the decoder knows of a clip before it is told what moves."""

    first: Float[Array, "N h w 3"]
    passed: list[Float[Array, "N _ _ _"]]  # features of the first frame, from fine to coarse
    coarse: Float[Array, "N I J D"]
    palette: Float[Array, "N K 3"]


class MotionDecoder(nnx.Module):
    """`places` of the code are spread over the cells of the coarsest stage, `spread` a side."""

    def __init__(
        self, config: MotionDecoderConfig, channels: int, places: tuple[int, int], spread: int, *, rngs: nnx.Rngs
    ):
        widths, c = config.widths, config
        halvings = list(enumerate(itertools.pairwise(widths)))
        self.config, self.spread = config, spread
        self.stem = Convolution(3 * CELL**2, widths[0], rngs=rngs)
        self.down = nnx.Dict({str(i): Down(fine, coarse, rngs=rngs) for i, (fine, coarse) in halvings})
        self.wanted = nnx.Param(nnx.initializers.uniform(2.0)(rngs.params(), (c.found, 3)) - 1)
        self.search = Head(widths[0], c.found * CELL**2, nnx.initializers.lecun_normal(), rngs=rngs)
        self.colours = nnx.Param(nnx.initializers.uniform(2.0)(rngs.params(), (c.fixed, 3)) - 1)
        self.norm = layers.rms_norm(widths[-1], epsilon=EPSILON, rngs=rngs)  # lest the code is drowned in what is seen
        self.told = nnx.Linear(channels, spread**2 * widths[-1], rngs=rngs)
        grid = tuple(spread * side for side in places)
        self.place = nnx.Param(nnx.initializers.normal(0.1)(rngs.params(), (*grid, widths[-1])))
        self.middle = nnx.Dict({str(i): ResidualBlock(widths[-1], rngs=rngs) for i in range(c.blocks)})
        self.up = nnx.Dict({str(i): Up(coarse, fine, rngs=rngs) for i, (fine, coarse) in halvings})
        # Not from zero: warps that start alike are taught alike, and would stay one.
        self.flow = Head(widths[0], 2 * c.warps * FRAMES, nnx.initializers.normal(0.01), rngs=rngs)
        candidates = 1 + c.warps + c.found + c.fixed
        self.mix = Head(widths[0], candidates * FRAMES * CELL**2, nnx.initializers.normal(0.01), rngs=rngs)

    def see(self, first: Float[Array, "N h w 3"]) -> Scene:
        """Everything that the first frame alone says."""
        x = self.stem(to_cells(first[:, None], CELL))
        passed, palette = [], self._palette(x, first)
        for down in in_order(self.down):
            passed.append(x)
            x = down(x)
        return Scene(first, passed, self.norm(x) + self.place[...][None], palette)

    def draw(self, scene: Scene, code: Float[Array, "N H W C"]) -> Float[Array, "N 4 h w 3"]:
        """Pixels near [-1, 1], not clamped."""
        told = from_cells(self.told(one_length(code)), 1, self.spread)
        x = scene.coarse + jnp.moveaxis(told[:, :, 0], 1, -1)
        for block in in_order(self.middle):
            x = block(x)
        for up, passed in reversed(list(zip(in_order(self.up), scene.passed, strict=True))):
            x = up(x, passed)
        first = to_planes(scene.first[:, None])
        pictures = [first, *warp(first, CELL * self.flow(x))]
        logits = from_cells(self.mix(x), FRAMES, CELL)
        shares = jax.nn.softmax(logits.at[:, 0].add(STILL_LOGIT), axis=1)
        copied = sum(shares[:, i, None] * picture for i, picture in enumerate(pictures))
        return from_planes(copied + jnp.einsum("nkfhw,nkc->ncfhw", shares[:, len(pictures) :], scene.palette))

    def _palette(self, x: Float[Array, "N I J D"], first: Float[Array, "N h w 3"]) -> Float[Array, "N K 3"]:
        """Means of the pixels whose colours are nearest to the wanted ones, and are where the features say."""
        pixels = first.reshape(len(first), -1, 3)
        distance = jnp.sum((pixels[:, None] - self.wanted[...][None, :, None]) ** 2, axis=-1)
        where = from_cells(self.search(x), 1, CELL).reshape(distance.shape)
        found = jnp.einsum("nkp,npc->nkc", jax.nn.softmax(where - SHARPNESS * distance, axis=-1), pixels)
        fixed = jnp.broadcast_to(self.colours[...][None], (len(first), *self.colours.shape))
        return jnp.concatenate([found, fixed], axis=1)
