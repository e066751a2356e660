"""FrameDecoder: draws the frames cleanly that a linear code decodes with blotches, from the clip's clean first frame.

A U-Net sees four frames as the linear code decodes them, and the first frame. For every pixel of every frame it says
how much to take of the linear decode, of the first frame as it is, of the first frame warped, and of a palette: colours
that it finds in the first frame, and a few that it always has. What stands still is copied, what moves keeps its edges,
and what comes into view is flat and has the colours of this presenter.
N groups of four frames, h w pixels, H W and I J places of a coarser grid, C channels, K colours, M warped pictures.
"""

import dataclasses
import itertools
import typing

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from actavatar_jax.checks import Limit, check_fields
from actavatar_jax.errors import InputError
from actavatar_jax.models import layers
from actavatar_jax.models.limits import SIDE, SIZE

FRAMES = 4  # of a group
FLOW_CELL = 4  # pixels a side of the cells whose flow is told; in between it is enlarged
LINEAR_LOGIT = 6.0  # before training more than nine tenths of every pixel are the linear decode
SHARPNESS = 10.0  # with which colours near to one that is searched are found
EPSILON = 1e-4  # of the norms
ROWS, COLUMNS = ((1, 1), (0, 0), (0, 0)), ((0, 0), (1, 1), (0, 0))  # paddings


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class FrameDecoderConfig:
    """`widths` are the channels of the stages, from fine to coarse, each of half the side of the one before."""

    widths: tuple[int, ...] = (48, 80, 112, 128)
    warps: int = 2  # of the first frame, for each of the four frames
    shuffle: int = 2  # pixels a side of the cells of the finest stage
    found: int = 10  # colours of the first frame
    fixed: int = 4  # colours of every clip

    LIMITS: typing.ClassVar[dict[str, Limit]] = {
        "widths": Limit("2 to 16 widths above 0", lambda x: 2 <= len(x) <= 16 and all(map(SIZE.holds, x))),
        **dict.fromkeys(("warps", "found", "fixed"), SIDE),
        "shuffle": Limit("2 or 4", lambda x: x in (2, 4)),
    }

    def __post_init__(self):
        check_fields(self, "frame decoder's ", **self.LIMITS)

    @property
    def multiple(self) -> int:
        """What the sides of pictures are multiples of."""
        return self.shuffle * 2 ** (len(self.widths) - 1)


class FrameDecoder(nnx.Module):
    """Starts as very nearly the linear decode."""

    def __init__(self, config: FrameDecoderConfig, *, rngs: nnx.Rngs):
        widths = config.widths
        halvings = list(enumerate(itertools.pairwise(widths)))
        self.config = config
        self.flow_stage = 0 if config.shuffle == FLOW_CELL else 1
        self.stem = Convolution((FRAMES + 1) * 3 * config.shuffle**2, widths[0], rngs=rngs)
        self.down = nnx.Dict({str(i): Down(fine, coarse, rngs=rngs) for i, (fine, coarse) in halvings})
        self.middle = ResidualBlock(widths[-1], rngs=rngs)
        self.up = nnx.Dict({str(i): Up(coarse, fine, rngs=rngs) for i, (fine, coarse) in halvings})
        # Not from zero: warps that start alike are taught alike, and would stay one.
        self.flow = Head(widths[self.flow_stage], 2 * config.warps * FRAMES, nnx.initializers.normal(0.01), rngs=rngs)
        self.wanted = nnx.Param(nnx.initializers.uniform(2.0)(rngs.params(), (config.found, 3)) - 1)
        self.colours = nnx.Param(nnx.initializers.uniform(2.0)(rngs.params(), (config.fixed, 3)) - 1)
        candidates = 2 + config.warps + config.found + config.fixed
        self.mix = Head(widths[0], candidates * FRAMES * config.shuffle**2, nnx.initializers.normal(0.01), rngs=rngs)

    def __call__(self, linear: Float[Array, "N 4 h w 3"], first: Float[Array, "N h w 3"]) -> Float[Array, "N 4 h w 3"]:
        """Four frames as the linear code decodes them, and the clean first frame of their clip -> the frames, clean.

        Pixels in [-1, 1]; what comes out is not clamped. Raises InputError where a side is no multiple of
        `config.multiple`.
        """
        self._check(*first.shape[1:3])
        palette, first = self.palette(first), first[:, None]
        features = self._features(to_cells(jnp.concatenate([linear - first, first], axis=1), self.config.shuffle))
        flow = FLOW_CELL * self.flow(features[self.flow_stage])
        logits = from_cells(self.mix(features[0]), FRAMES, self.config.shuffle)

        linear, first = to_planes(linear), to_planes(first)
        pictures = [linear, first, *warp(first, flow)]
        shares = jax.nn.softmax(logits.at[:, 0].add(LINEAR_LOGIT), axis=1)
        mixed = sum(shares[:, i, None] * picture for i, picture in enumerate(pictures))
        return from_planes(mixed + jnp.einsum("nkfhw,nkc->ncfhw", shares[:, len(pictures) :], palette))

    def palette(self, first: Float[Array, "N h w 3"]) -> Float[Array, "N K 3"]:
        """Means of the first frame's pixels that are nearest to each of the wanted colours, then the fixed ones."""
        pixels, wanted = first.reshape(len(first), -1, 3), self.wanted[...]
        distance = jnp.sum((pixels[:, None] - wanted[None, :, None]) ** 2, axis=-1)
        found = jnp.einsum("nkp,npc->nkc", jax.nn.softmax(-SHARPNESS * distance, axis=-1), pixels)
        fixed = jnp.broadcast_to(self.colours[...][None], (len(first), *self.colours.shape))
        return jnp.concatenate([found, fixed], axis=1)

    def _features(self, cells: Float[Array, "N H W C"]) -> list[Float[Array, "N _ _ _"]]:
        """Of every stage, from fine to coarse; each has seen the coarser ones."""
        x = self.stem(cells)
        passed = []
        for down in _in_order(self.down):
            passed.append(x)
            x = down(x)
        features = [self.middle(x)]
        for up, x in reversed(list(zip(_in_order(self.up), passed, strict=True))):
            features.append(up(features[-1], x))
        return features[::-1]

    def _check(self, height: int, width: int) -> None:
        multiple = self.config.multiple
        if height % multiple or width % multiple:
            raise InputError(f"FrameDecoder got frames of {height}x{width}; it takes sides in multiples of {multiple}.")


# ---- layers


class ResidualBlock(nnx.Module):
    """Starts as the identity."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        self.norm = layers.rms_norm(width, epsilon=EPSILON, rngs=rngs)
        self.conv1 = Convolution(width, width, rngs=rngs)
        self.conv2 = Convolution(width, width, nnx.initializers.zeros, rngs=rngs)

    def __call__(self, x: Float[Array, "N H W C"]) -> Float[Array, "N H W C"]:
        return x + self.conv2(nnx.silu(self.conv1(nnx.silu(self.norm(x)))))


class Down(nnx.Module):
    """From a stage to the next coarser one."""

    def __init__(self, fine: int, coarse: int, *, rngs: nnx.Rngs):
        self.merge = nnx.Linear(4 * fine, coarse, rngs=rngs)
        self.block = ResidualBlock(coarse, rngs=rngs)

    def __call__(self, x: Float[Array, "N H W C"]) -> Float[Array, "N I J D"]:
        return self.block(self.merge(to_cells(nnx.silu(x)[:, None], 2)))


class Up(nnx.Module):
    """From a stage to the next finer one, and to what that one held on the way down."""

    def __init__(self, coarse: int, fine: int, *, rngs: nnx.Rngs):
        self.narrow = nnx.Linear(coarse, fine, rngs=rngs)
        self.block = ResidualBlock(fine, rngs=rngs)

    def __call__(self, x: Float[Array, "N I J D"], passed: Float[Array, "N H W C"]) -> Float[Array, "N H W C"]:
        return self.block(passed + self.narrow(x).repeat(2, axis=1).repeat(2, axis=2))


class Head(nnx.Module):
    """What the features of a stage say."""

    def __init__(self, width: int, outputs: int, kernel_init: nnx.Initializer, *, rngs: nnx.Rngs):
        self.norm = layers.rms_norm(width, epsilon=EPSILON, rngs=rngs)
        self.linear = nnx.Linear(width, outputs, kernel_init=kernel_init, rngs=rngs)

    def __call__(self, x: Float[Array, "N H W C"]) -> Float[Array, "N H W D"]:
        return self.linear(nnx.silu(self.norm(x)))


class Convolution(nnx.Module):
    """3x3, with zeros around the picture."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel_init: nnx.Initializer = nnx.initializers.lecun_normal(),  # noqa: B008 - a pure function
        *,
        rngs: nnx.Rngs,
    ):
        self.kernel = nnx.Param(kernel_init(rngs.params(), (3, 3, inputs, outputs)))
        self.bias = nnx.Param(jnp.zeros(outputs))

    def __call__(self, x: Float[Array, "N H W C"]) -> Float[Array, "N H W D"]:
        return convolve(x, self.kernel[...]) + self.bias[None, None, None]


@jax.custom_vjp
def convolve(x: Float[Array, "N H W C"], kernel: Float[Array, "3 3 C D"]) -> Float[Array, "N H W D"]:
    """As XLA does it, but for the kernel's gradient: its own takes CPUs longer than all the rest."""
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _convolve_forward(x: Float[Array, "N H W C"], kernel: Float[Array, "3 3 C D"]):
    return convolve(x, kernel), (x, kernel)


def _convolve_backward(saved, gradient: Float[Array, "N H W D"]):
    x, kernel = saved
    return convolve(gradient, kernel[::-1, ::-1].swapaxes(2, 3)), kernel_gradient(x, gradient)


convolve.defvjp(_convolve_forward, _convolve_backward)


def kernel_gradient(x: Float[Array, "N H W C"], gradient: Float[Array, "N H W D"]) -> Float[Array, "3 3 C D"]:
    """Three matrix products per picture, one picture after the other, so that all of one stays in the cache."""
    H, W, C = x.shape[1:]

    def add_picture(total: Float[Array, "3 C E"], picture: tuple[Array, Array]):
        x, gradient = (jnp.pad(part, padding) for part, padding in zip(picture, (ROWS, COLUMNS), strict=True))
        columns = jnp.concatenate([gradient[:, 2 - j : 2 - j + W] for j in range(3)], axis=-1)
        rows = [jnp.einsum("hwc,hwe->ce", x[i : i + H], columns) for i in range(3)]
        return total + jnp.stack(rows), None

    total, _ = jax.lax.scan(add_picture, jnp.zeros((3, C, 3 * gradient.shape[-1]), x.dtype), (x, gradient))
    return total.reshape(3, C, 3, -1).swapaxes(1, 2)


def _in_order(stages: nnx.Dict) -> list[nnx.Module]:
    return [stages[str(i)] for i in range(len(stages))]


# ---- pixels: a plane for every colour of every frame, so that processors work on a row of pixels at once


def to_planes(frames: Float[Array, "N F h w c"]) -> Float[Array, "N c F h w"]:
    return jnp.moveaxis(frames, -1, 1)


def from_planes(planes: Float[Array, "N c F h w"]) -> Float[Array, "N F h w c"]:
    """Inverse of `to_planes`."""
    return jnp.moveaxis(planes, 1, -1)


def to_cells(frames: Float[Array, "N F h w c"], cell: int) -> Float[Array, "N H W C"]:
    """Squares of `cell` by `cell` pixels of all frames become channels."""
    N, F, h, w, c = frames.shape
    cells = frames.reshape(N, F, h // cell, cell, w // cell, cell, c).transpose(0, 2, 4, 1, 3, 5, 6)
    return cells.reshape(N, h // cell, w // cell, -1)


def from_cells(cells: Float[Array, "N H W C"], frames: int, cell: int) -> Float[Array, "N c {frames} h w"]:
    """Channels become planes; their number is what `frames` and `cell` leave."""
    N, H, W, _ = cells.shape
    planes = cells.reshape(N, H, W, -1, frames, cell, cell).transpose(0, 3, 4, 1, 5, 2, 6)
    return planes.reshape(N, -1, frames, H * cell, W * cell)


def warp(first: Float[Array, "N 3 1 h w"], flow: Float[Array, "N I J D"]) -> list[Float[Array, "N 3 4 h w"]]:
    """The warps of the first frame, each for the four frames; no gradient goes to the first frame.

    Args:
      flow: how many pixels below and to the right of a pixel its colour is found (D: this pair, warps, frames), at the
        centres of cells of FLOW_CELL pixels a side; in between it changes evenly, and the picture ends at its edges.
    """
    N, _, _, h, w = first.shape
    enlarged = jax.image.resize(jnp.moveaxis(flow, -1, 1), (N, flow.shape[-1], h, w), "linear")
    down, right = jnp.moveaxis(enlarged.reshape(N, 2, -1, h, w), 1, 0)
    y = jnp.clip(down + jnp.arange(h, dtype=down.dtype)[None, None, :, None], 0, h - 1)
    x = jnp.clip(right + jnp.arange(w, dtype=down.dtype)[None, None, None], 0, w - 1)
    top, left = jnp.floor(y), jnp.floor(x)
    down, right = y - top, x - left  # of the pixel above and to the left

    sample = jnp.arange(N)[:, None, None, None]
    corner = (sample * h + top.astype(jnp.int32)) * w + left.astype(jnp.int32)

    def interpolate(colour: Float[Array, "N h w"]) -> Float[Array, "N M h w"]:
        flat = colour.reshape(-1)
        above, above_right, below, below_right = (flat.at[corner + i].get(mode="clip") for i in (0, 1, w, w + 1))
        return (above * (1 - right) + above_right * right) * (1 - down) + (
            below * (1 - right) + below_right * right
        ) * down

    colours = jnp.moveaxis(jax.lax.stop_gradient(first)[:, :, 0], 1, 0)
    pictures = jnp.stack([interpolate(colour) for colour in colours], axis=1).reshape(N, 3, -1, FRAMES, h, w)
    return list(jnp.moveaxis(pictures, 2, 0))
