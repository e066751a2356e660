"""A block of the transformer, the attention and feed-forward inside it, and the modulated head behind the last one.

B batch, T latent frames, P tokens per latent frame, L = T*P video tokens, D width, N heads, K head dim, S text tokens,
A audio tokens per latent frame; eq. numbers are ActAvatar's.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from actavatar_jax.models.attention import attention
from actavatar_jax.models.avatar.audio_adapter import AudioCrossAttention
from actavatar_jax.models.avatar.config import Conditions, DiTConfig, WanSizes
from actavatar_jax.models.avatar.intervals import turn
from actavatar_jax.models.avatar.relay import window_bias
from actavatar_jax.models.avatar.rope import apply_rope
from actavatar_jax.models.execution import ISLAND, Execution
from actavatar_jax.models.layers import layer_norm, linear, rms_norm
from actavatar_jax.parallel import BATCH, SEQ, constrain
from actavatar_jax.prompt.forms import bias_of


class Block(nnx.Module):
    """Self-attention, text cross-attention (eq. 3), audio cross-attention (eq. 4), feed-forward."""

    def __init__(self, config: DiTConfig, execution: Execution, *, rngs: nnx.Rngs):
        c, e = config, execution
        self.learns_strength, self.execution = bias_of(c.phase_time) == "soft_relay", e
        self.modulation = nnx.Param(jax.random.normal(rngs.params(), (6, c.width)) / c.width**0.5)
        self.self_norm = layer_norm(c.width, epsilon=c.eps, affine=False, rngs=rngs)
        self.self_attn = Attention(c, e, rngs=rngs)
        self.cross_norm = layer_norm(c.width, epsilon=c.eps, rngs=rngs)
        self.cross_attn = Attention(c, e, rngs=rngs)
        self.audio_norm = layer_norm(c.width, epsilon=c.eps, rngs=rngs)
        self.audio_attn = AudioCrossAttention(c.audio, c.width, c.heads, c.head_dim, e, rngs=rngs)
        self.ffn_norm = layer_norm(c.width, epsilon=c.eps, affine=False, rngs=rngs)
        self.ffn = FeedForward(c, e, rngs=rngs)
        if self.learns_strength:
            self.window_strength = nnx.Param(jnp.zeros(()))

    def __call__(
        self,
        x: Float[Array, "B T P D"],
        modulation: Float[Array, "B T 6 D"],
        conditions: Conditions,
        text_kv: Float[Array, "2 B S N K"],
        audio_kv: Float[Array, "2 B T A N K"],
        audio_scale: Float[Array, ""],
    ) -> Float[Array, "B T P D"]:
        modulation = self.modulation[...][None, None] + modulation
        shift_sa, scale_sa, gate_sa, shift_ff, scale_ff, gate_ff = (modulation[:, :, i, None] for i in range(6))

        x = add(x, gate_sa * self.self_attn.attend_self(self.self_norm(x) * (1 + scale_sa) + shift_sa, conditions.rope))
        x = add(x, self.attend_text(self.cross_norm(x), text_kv, conditions))
        x = add(x, audio_scale * self.audio_attn(self.audio_norm(x), audio_kv))
        return add(x, gate_ff * self.ffn(self.ffn_norm(x) * (1 + scale_ff) + shift_ff))

    def attend_text(
        self, x: Float[Array, "B T P D"], kv: Float[Array, "2 B S N K"], conditions: Conditions
    ) -> Float[Array, "B T P D"]:
        bias = self.window_bias(conditions.window_penalty, x.shape[2])
        out = attention(self.text_queries(x, conditions), *kv, self.execution, bias=bias)
        return self.cross_attn.output(out).reshape(x.shape)

    def text_queries(self, x: Float[Array, "B T P D"], conditions: Conditions) -> Float[Array, "B L N K"]:
        queries = self.cross_attn.queries(x.reshape(x.shape[0], -1, x.shape[-1]))
        if conditions.query_turns is None:
            return queries
        return turn(queries, jnp.repeat(conditions.query_turns, x.shape[2], axis=1))

    def window_bias(self, penalty: Float[Array, "B T S"] | None, tokens: int) -> Float[Array, "B 1 L S"] | None:
        return window_bias(penalty, tokens, self.window_strength[...] if self.learns_strength else 1.0)

    def text_weights(
        self,
        x: Float[Array, "B T P D"],
        modulation: Float[Array, "B T 6 D"],
        conditions: Conditions,
        text_kv: Float[Array, "2 B S N K"],
    ) -> Float[Array, "B T S"]:
        """The softmax that `attend_text` takes, mean over heads and over the tokens of a latent frame."""
        modulation = self.modulation[...][None, None] + modulation
        shift, scale, gate = (modulation[:, :, i, None] for i in range(3))
        x = add(x, gate * self.self_attn.attend_self(self.self_norm(x) * (1 + scale) + shift, conditions.rope))
        q = self.text_queries(self.cross_norm(x), conditions)
        scores = jnp.einsum("BLNK,BSNK->BNLS", q, text_kv[0], preferred_element_type=jnp.float32) / q.shape[-1] ** 0.5
        bias = self.window_bias(conditions.window_penalty, x.shape[2])
        weights = jax.nn.softmax(scores if bias is None else scores + bias, axis=-1)
        return weights.reshape(*weights.shape[:2], *x.shape[1:3], -1).mean(axis=(1, 3))

    def keys_values(self, conditions: Conditions) -> tuple[Array, Array]:
        """Text keys and values [2, B, S, N, K], audio keys and values [2, B, T, A, N, K]."""
        keys, values = self.cross_attn.keys_values(conditions.text)
        if conditions.key_turns is not None:
            keys = turn(keys, conditions.key_turns)
        return constrain(jnp.stack([keys, values]), None, BATCH), self.audio_attn.keys_values(conditions.audio)


class Attention(nnx.Module):
    """Projections of one attention; queries and keys are RMS-normed over the full width, before the head split."""

    def __init__(self, config: WanSizes, execution: Execution, *, rngs: nnx.Rngs):
        c, inner = config, config.heads * config.head_dim
        self.query = linear(c.width, inner, execution, rngs)
        self.key = linear(c.width, inner, execution, rngs)
        self.value = linear(c.width, inner, execution, rngs)
        self.out = linear(inner, c.width, execution, rngs)
        self.norm_query = rms_norm(inner, epsilon=c.eps, rngs=rngs)
        self.norm_key = rms_norm(inner, epsilon=c.eps, rngs=rngs)
        self.heads, self.execution = c.heads, execution

    def attend_self(self, x: Float[Array, "B T P D"], rope: Float[Array, "2 L pairs"]) -> Float[Array, "B T P D"]:
        """Every token of all latent frames sees every other."""
        tokens = x.reshape(x.shape[0], -1, x.shape[-1])
        q = apply_rope(self.queries(tokens), rope)
        k, v = self.keys_values(tokens)
        out = attention(q, apply_rope(k, rope), v, self.execution, cut="heads", keep=True)
        return self.output(out).reshape(x.shape)

    def queries(self, x: Float[Array, "B L D"]) -> Float[Array, "B L N K"]:
        return self._heads(self.norm_query(self.query(x)))

    def keys_values(self, x: Float[Array, "B S D"]) -> tuple[Float[Array, "B S N K"], Float[Array, "B S N K"]]:
        return self._heads(self.norm_key(self.key(x))), self._heads(self.value(x))

    def output(self, x: Float[Array, "B L N K"]) -> Float[Array, "B L D"]:
        return self.out(x.reshape(*x.shape[:2], -1))

    def _heads(self, x: Array) -> Array:
        return x.reshape(*x.shape[:2], self.heads, -1).astype(self.execution.dtype)


class FeedForward(nnx.Module):
    """Linear, tanh-GELU, linear."""

    def __init__(self, config: WanSizes, execution: Execution, *, rngs: nnx.Rngs):
        self.up = linear(config.width, config.ffn, execution, rngs)
        self.down = linear(config.ffn, config.width, execution, rngs)

    def __call__(self, x: Float[Array, "B T P D"]) -> Float[Array, "B T P D"]:
        # Pinned, as attention's outputs are: else small activations would be cut like the matrix that follows.
        return self.down(constrain(nnx.gelu(self.up(x)), BATCH, SEQ))


class MLP(nnx.Module):
    """Linear, activation, linear: the time and the text embedding."""

    def __init__(self, inputs: int, width: int, activation, execution: Execution, kernel_init, *, rngs: nnx.Rngs):
        self.linear_1 = linear(inputs, width, execution, rngs, kernel_init)
        self.linear_2 = linear(width, width, execution, rngs, kernel_init)
        self.activation = activation

    def __call__(self, x: Float[Array, "*rest I"]) -> Float[Array, "*rest D"]:
        return self.linear_2(self.activation(self.linear_1(x)))


class Head(nnx.Module):
    """Modulated norm and projection to patches; its modulation takes the time embedding before the 6-way split."""

    def __init__(self, config: WanSizes, *, rngs: nnx.Rngs):
        c = config
        patch = c.patch[0] * c.patch[1] * c.patch[2]
        self.modulation = nnx.Param(jax.random.normal(rngs.params(), (2, c.width)) / c.width**0.5)
        self.norm = layer_norm(c.width, epsilon=c.eps, affine=False, rngs=rngs)
        self.out = linear(c.width, c.out_channels * patch, ISLAND, rngs, nnx.initializers.zeros)

    def __call__(self, x: Float[Array, "B T P D"], time: Float[Array, "B T D"]) -> Float[Array, "B T P out"]:
        modulation = self.modulation[...][None, None] + time[:, :, None]
        shift, scale = modulation[:, :, 0, None], modulation[:, :, 1, None]
        return self.out(self.norm(x) * (1 + scale) + shift)


def add(x: Array, update: Array) -> Array:
    """Residual addition in float32, kept in the dtype of the stream."""
    return (x.astype(jnp.float32) + update.astype(jnp.float32)).astype(x.dtype)
