"""Features of both frames at five scales: convolutions at the first three, state-space blocks at the last two."""

from flax import nnx
from jaxtyping import Array, Float

from actavatar_jax.avatarsync.interpolation.block import StateSpaceBlock
from actavatar_jax.avatarsync.interpolation.config import InterpolatorConfig
from actavatar_jax.avatarsync.interpolation.layers import ConvPReLU
from actavatar_jax.avatarsync.tokenizer.layers import convolution
from actavatar_jax.models.execution import Execution
from actavatar_jax.models.layers import layer_norm
from actavatar_jax.models.wan_vae.parts import Numbered

CONVOLUTIONAL = 3  # stages


class Backbone(nnx.Module):
    """Pairs of frames -> features of each, [P, 2, H, W, C], from fine to coarse; t is no input."""

    def __init__(self, config: InterpolatorConfig, execution: Execution, *, rngs: nnx.Rngs):
        widths = (3, *config.widths)
        self.stages = Numbered(
            (ConvStage if stage < CONVOLUTIONAL else ScanStage)(
                widths[stage], widths[stage + 1], depth, config, execution, halve=stage > 0, rngs=rngs
            )
            for stage, depth in enumerate(config.depths)
        )

    def __call__(self, pairs: Float[Array, "P 2 H W 3"]) -> list[Float[Array, "P 2 _ _ _"]]:
        features, x = [], pairs
        for stage in self.stages.in_order():
            x = stage(x)
            features.append(x)
        return features


class ConvStage(nnx.Module):
    """Half the side, and convolutions with PReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        depth: int,
        config: InterpolatorConfig,
        execution: Execution,
        *,
        halve: bool,
        rngs: nnx.Rngs,
    ):
        if halve:
            self.down = ConvPReLU(inputs, outputs, execution, stride=2, rngs=rngs)
        first = outputs if halve else inputs
        self.convs = Numbered(
            ConvPReLU(first if i == 0 else outputs, outputs, execution, rngs=rngs) for i in range(depth)
        )

    def __call__(self, pairs: Float[Array, "P 2 h w I"]) -> Float[Array, "P 2 H W O"]:
        x = pairs.reshape(-1, *pairs.shape[2:])
        x = self.down(x) if hasattr(self, "down") else x
        for conv in self.convs.in_order():
            x = conv(x)
        return x.reshape(-1, 2, *x.shape[1:])


class ScanStage(nnx.Module):
    """Norm, half the side, and blocks in which the frames see each other."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        depth: int,
        config: InterpolatorConfig,
        execution: Execution,
        *,
        halve: bool,
        rngs: nnx.Rngs,
    ):
        self.norm = layer_norm(inputs, epsilon=config.eps, rngs=rngs)
        self.down = convolution(inputs, outputs, execution, rngs, stride=2 if halve else 1)
        self.blocks = Numbered(StateSpaceBlock(outputs, config, execution, rngs=rngs) for _ in range(depth))

    def __call__(self, pairs: Float[Array, "P 2 h w I"]) -> Float[Array, "P 2 H W O"]:
        x = self.down(self.norm(pairs.reshape(-1, *pairs.shape[2:])))
        x = x.reshape(-1, 2, *x.shape[1:])
        for block in self.blocks.in_order():
            x = block(x)
        return x
