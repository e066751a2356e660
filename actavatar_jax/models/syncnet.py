"""SyncNet v2: five frames of a mouth and the sound of them become two vectors, the nearer the better they fit.

F frames, N windows, H W height and width, C channels, D features.
Source: Chung and Zisserman, "Out of time: automated lip sync in the wild" (2016); sizes of joonson/syncnet_python.
"""

import dataclasses
import typing

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from actavatar_jax.checks import Limit, check_fields, each
from actavatar_jax.errors import InputError
from actavatar_jax.models.execution import Execution
from actavatar_jax.models.layers import linear
from actavatar_jax.models.limits import SIZE

WINDOW = 5  # frames that are seen at once
SIDE = 224  # pixels of a face
CEPSTRA, VECTORS = 13, 20  # of the sound of a window: coefficients, and vectors of them in 0.2 s
EPSILON = 1e-5  # of PyTorch's batch norms


class Stage(typing.NamedTuple):
    """A convolution with batch norm and ReLU, and the pooling behind it (3 x 3 maxima), if there is one."""

    kernel: tuple[int, int]
    stride: int = 1
    padding: int = 1
    pool: tuple[int, int] | None = None  # strides
    pool_padding: int = 0
    frames: int = 1


LIPS = (
    Stage((7, 7), 2, 0, pool=(2, 2), frames=WINDOW),
    Stage((5, 5), 2, 1, pool=(2, 2), pool_padding=1),
    Stage((3, 3)),
    Stage((3, 3)),
    Stage((3, 3), pool=(2, 2)),
    Stage((6, 6), padding=0),
)
SOUND = (
    Stage((3, 3)),
    Stage((3, 3), pool=(1, 2)),
    Stage((3, 3)),
    Stage((3, 3)),
    Stage((3, 3), pool=(2, 2)),
    Stage((5, 4), padding=0),
)


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class SyncNetConfig:
    """Channels of both towers' convolutions, and widths of the two layers of the heads; defaults are the published."""

    lips: tuple[int, int, int, int, int, int] = (96, 256, 256, 256, 256, 512)
    sound: tuple[int, int, int, int, int, int] = (64, 192, 384, 256, 256, 512)
    hidden: int = 512
    features: int = 1024

    LIMITS: typing.ClassVar[dict[str, Limit]] = {
        **dict.fromkeys(("lips", "sound"), each(SIZE, 6)),
        **dict.fromkeys(("hidden", "features"), SIZE),
    }

    def __post_init__(self):
        check_fields(self, "SyncNet's ", **self.LIMITS)


class SyncNet(nnx.Module):
    """Batch norms are in inference mode: their means and variances are parameters like others."""

    def __init__(self, config: SyncNetConfig, execution: Execution = Execution(), *, rngs: nnx.Rngs):  # noqa: B008 - frozen
        c, e = config, execution
        self.lip_tower = Tower(LIPS, 3, c.lips, e, rngs=rngs)
        self.lip_head = Head(c.lips[-1], c, e, rngs=rngs)
        self.sound_tower = Tower(SOUND, 1, c.sound, e, rngs=rngs)
        self.sound_head = Head(c.sound[-1], c, e, rngs=rngs)

    def lips(self, frames: Float[Array, "F H W 3"]) -> Float[Array, "F-4 D"]:
        """Features of every run of five frames. Pixels are 224 x 224, blue first, 0 to 255.

        Only the first convolution looks at more than one frame, so that no window is cut out or computed twice.

        Raises:
          InputError: the pictures have another size, or there are fewer than five.
        """
        if frames.shape[1:3] != (SIDE, SIDE) or len(frames) < WINDOW:
            raise InputError(
                f"SyncNet got {frames.shape[0]} pictures of {frames.shape[2]}x{frames.shape[1]}; accepted are {WINDOW} "
                f"or more of {SIDE}x{SIDE}."
            )
        return self.lip_head(self.lip_tower(frames))

    def lip_windows(self, windows: Float[Array, "N 5 H W 3"]) -> Float[Array, "N D"]:
        """As `lips`, of windows that are apart."""
        return self.lip_head(self.lip_tower(windows))

    def sound(self, cepstra: Float[Array, "N 13 20"]) -> Float[Array, "N D"]:
        """Features of windows of 20 vectors of cepstral coefficients (`synchrony.mfcc`)."""
        return self.sound_head(self.sound_tower(cepstra[..., None]))


class Tower(nnx.Module):
    """Convolutions down to one place."""

    def __init__(
        self,
        stages: tuple[Stage, ...],
        inputs: int,
        widths: tuple[int, ...],
        execution: Execution,
        *,
        rngs: nnx.Rngs,
    ):
        self.stages = stages
        self.layers = nnx.Dict(
            {
                str(i): ConvNorm(stage, into, out, execution, rngs=rngs)
                for i, (stage, into, out) in enumerate(zip(stages, (inputs, *widths), widths, strict=False))
            }
        )

    def __call__(self, x: Float[Array, "F H W C"] | Float[Array, "N K H W C"]) -> Float[Array, "N D"]:
        for i, stage in enumerate(self.stages):
            x = self.layers[str(i)](x)
            if stage.pool:
                x = nnx.max_pool(x, (3, 3), stage.pool, ((stage.pool_padding,) * 2,) * 2)
        return x.reshape(len(x), -1)


class ConvNorm(nnx.Module):
    def __init__(self, stage: Stage, inputs: int, outputs: int, execution: Execution, *, rngs: nnx.Rngs):
        if stage.frames > 1:
            self.conv = FramesConv(stage, inputs, outputs, execution, rngs=rngs)
        else:
            padding = ((stage.padding,) * 2,) * 2
            products = execution.products
            self.conv = nnx.Conv(inputs, outputs, stage.kernel, stage.stride, padding=padding, rngs=rngs, **products)
        self.norm = BatchNorm(outputs)

    def __call__(self, x: Float[Array, "F H W I"] | Float[Array, "N K H W I"]) -> Float[Array, "N h w O"]:
        return jax.nn.relu(self.norm(self.conv(x)))


class FramesConv(nnx.Module):
    """A convolution in space and time, without padding, of frames in a row or of windows that are apart.

    Computed as one in space: of frames to the channels of every frame of the kernel, of which those of one window are
    then added, and of windows from the channels of all their frames. On CPUs the former takes half of the time of a
    native one.
    """

    def __init__(self, stage: Stage, inputs: int, outputs: int, execution: Execution, *, rngs: nnx.Rngs):
        self.stride, self.products = stage.stride, execution.products
        shape = (stage.frames, *stage.kernel, inputs, outputs)
        self.kernel = nnx.Param(nnx.initializers.lecun_normal()(rngs.params(), shape))
        self.bias = nnx.Param(jnp.zeros((outputs,)))

    def __call__(self, x: Float[Array, "F H W I"] | Float[Array, "N K H W I"]) -> Float[Array, "N h w O"]:
        frames, height, width, inputs, outputs = self.kernel.shape
        kernel, bias = (part[...].astype(self.products["dtype"]) for part in (self.kernel, self.bias))
        bias = bias.reshape(1, 1, 1, -1)
        if x.ndim == 5:
            x = jnp.moveaxis(x, 1, 3).reshape(len(x), *x.shape[2:4], frames * inputs)
            return self._convolve(x, jnp.moveaxis(kernel, 0, 2).reshape(height, width, frames * inputs, outputs)) + bias
        parts = self._convolve(x, jnp.moveaxis(kernel, 0, 3).reshape(height, width, inputs, frames * outputs))
        count = len(x) - frames + 1
        shifted = (parts[i : i + count, ..., i * outputs : (i + 1) * outputs] for i in range(frames))
        return sum(shifted) + bias

    def _convolve(self, x: Float[Array, "N H W I"], kernel: Float[Array, "k l I O"]) -> Float[Array, "N h w O"]:
        dtype, precision = self.products.values()
        return jax.lax.conv_general_dilated(
            x.astype(dtype),
            kernel,
            window_strides=(self.stride, self.stride),
            padding="VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=precision,
        )


class Head(nnx.Module):
    def __init__(self, inputs: int, config: SyncNetConfig, execution: Execution, *, rngs: nnx.Rngs):
        self.hidden = linear(inputs, config.hidden, execution, rngs)
        self.norm = BatchNorm(config.hidden)
        self.out = linear(config.hidden, config.features, execution, rngs)

    def __call__(self, x: Float[Array, "N I"]) -> Float[Array, "N D"]:
        return self.out(jax.nn.relu(self.norm(self.hidden(x))))


class BatchNorm(nnx.Module):
    """In inference mode. Flax's own keeps its statistics as state beside the parameters, to be updated."""

    def __init__(self, channels: int):
        self.scale, self.var = (nnx.Param(jnp.ones((channels,))) for _ in range(2))
        self.bias, self.mean = (nnx.Param(jnp.zeros((channels,))) for _ in range(2))

    def __call__(self, x: Float[Array, "*rest C"]) -> Float[Array, "*rest C"]:
        scale = self.scale[...] * jax.lax.rsqrt(self.var[...] + EPSILON)
        shift = self.bias[...] - self.mean[...] * scale
        wide = (1,) * (x.ndim - 1) + (-1,)
        return x * scale.reshape(wide) + shift.reshape(wide)
