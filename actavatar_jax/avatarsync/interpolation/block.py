"""A state-space block: the tokens of both frames read as one sequence, then channel attention within each frame.

P pairs, H W places of a frame, C channels, D = expansion C, N numbers of state, R rank of the step sizes.
"""

import functools
import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from actavatar_jax.avatarsync.interpolation.config import InterpolatorConfig
from actavatar_jax.avatarsync.interpolation.orders import merge_orders, read_in_four_orders
from actavatar_jax.avatarsync.interpolation.scan import selective_scan
from actavatar_jax.avatarsync.tokenizer.layers import convolution
from actavatar_jax.models.execution import Execution
from actavatar_jax.models.layers import gelu, layer_norm, linear

STEPS = (1e-3, 1e-1)  # first sizes of the scan's steps


class StateSpaceBlock(nnx.Module):
    """Both halves add to a scaled input."""

    def __init__(self, channels: int, config: InterpolatorConfig, execution: Execution, *, rngs: nnx.Rngs):
        self.skip_scale = nnx.Param(jnp.ones((channels,)))
        self.skip_scale2 = nnx.Param(jnp.ones((channels,)))
        self.norm1 = layer_norm(channels, epsilon=config.eps, rngs=rngs)
        self.norm2 = layer_norm(channels, epsilon=config.eps, rngs=rngs)
        self.mixer = PairMixer(channels, config, execution, rngs=rngs)
        self.channels = ChannelAttention(channels, execution, rngs=rngs)

    def __call__(self, x: Float[Array, "P 2 H W C"]) -> Float[Array, "P 2 H W C"]:
        x = x * self.skip_scale[...][None, None, None, None] + self.mixer(self.norm1(x))
        frames = x.reshape(-1, *x.shape[2:])
        frames = frames * self.skip_scale2[...][None, None, None] + self.channels(self.norm2(frames))
        return frames.reshape(x.shape)


class PairMixer(nnx.Module):
    """The tokens of two frames interleaved, scanned in four orders (SS2D)."""

    def __init__(self, channels: int, config: InterpolatorConfig, execution: Execution, *, rngs: nnx.Rngs):
        inner, rank = config.expansion * channels, math.ceil(channels / 16)
        self.config, self.rank = config, rank
        uniform = nnx.initializers.uniform
        self.in_proj = linear(channels, 2 * inner, execution, rngs, use_bias=False)
        self.conv = nnx.Conv(
            inner, inner, (3, 3), padding=((1, 1), (1, 1)), feature_group_count=inner, rngs=rngs, **execution.products
        )
        self.x_proj = nnx.Param(
            uniform(2 * inner**-0.5)(rngs.params(), (4, rank + 2 * config.state, inner)) - inner**-0.5
        )
        self.dt_proj = nnx.Param(uniform(2 * rank**-0.5)(rngs.params(), (4, inner, rank)) - rank**-0.5)
        low, high = map(math.log, STEPS)
        steps = jnp.exp(jax.random.uniform(rngs.params(), (4, inner), minval=low, maxval=high))
        self.dt_bias = nnx.Param(steps + jnp.log(-jnp.expm1(-steps)))  # of which softplus makes `steps`
        decays = jnp.log(jnp.arange(1, config.state + 1, dtype=jnp.float32))
        self.log_a = nnx.Param(jnp.tile(decays[None], (4 * inner, 1)))
        self.skip = nnx.Param(jnp.ones((4 * inner,)))
        self.norm = layer_norm(inner, epsilon=config.eps, rngs=rngs)
        self.out_proj = linear(inner, channels, execution, rngs, use_bias=False)

    def __call__(self, x: Float[Array, "P 2 H W C"]) -> Float[Array, "P 2 H W C"]:
        H, W = x.shape[2:4]
        x, gate = jnp.split(self.in_proj(x), 2, axis=-1)
        x = nnx.silu(self.conv(x.reshape(-1, *x.shape[2:]))).reshape(x.shape)
        y = self.scan(read_in_four_orders(x.astype(jnp.float32)))
        y = merge_orders(y, H, W, self.config.merge)
        return self.out_proj(self.norm(y) * nnx.silu(gate))

    def scan(self, sequences: Float[Array, "4 P L D"]) -> Float[Array, "4 P L D"]:
        """Each order has parameters of its own."""
        state = self.config.state
        told = jnp.einsum("kpld,ked->kple", sequences, self.x_proj[...])
        dt, b, c = jnp.split(told, (self.rank, self.rank + state), axis=-1)
        dt = jnp.einsum("kplr,kdr->kpld", dt, self.dt_proj[...])
        delta = jax.nn.softplus(dt + self.dt_bias[...][:, None, None])
        a = -jnp.exp(self.log_a[...]).reshape(4, -1, state)
        each = functools.partial(selective_scan, chunk=self.config.chunk)
        return jax.vmap(each)(sequences, delta, a, b, c, self.skip[...].reshape(4, -1))


class ChannelAttention(nnx.Module):
    """Two convolutions, and a weight for every channel of what they make (CAB)."""

    def __init__(self, channels: int, execution: Execution, *, rngs: nnx.Rngs):
        narrow, hidden = channels // 3, max(channels // 30, 1)
        self.conv1 = convolution(channels, narrow, execution, rngs)
        self.conv2 = convolution(narrow, channels, execution, rngs)
        self.squeeze = convolution(channels, hidden, execution, rngs, size=1)
        self.excite = convolution(hidden, channels, execution, rngs, size=1)

    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        y = self.conv2(gelu(self.conv1(x)))
        weights = self.excite(nnx.relu(self.squeeze(y.mean((1, 2), keepdims=True))))
        return y * nnx.sigmoid(weights)
