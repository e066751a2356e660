"""A block of EchoMimicV3's transformer: one query attends to text, picture and speech, each with keys of its own.

B batch, T latent frames, P tokens per latent frame, L = T*P video tokens, D width, N heads, K head dim, S text tokens,
I picture tokens, A audio tokens per latent frame; eq. numbers are EchoMimicV3's (arXiv 2507.03905).
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from actavatar_jax.echomimic.config import Conditions, EchoMimicConfig, Sources
from actavatar_jax.models.attention import attention
from actavatar_jax.models.avatar.audio_adapter import attend_frames
from actavatar_jax.models.avatar.block import Attention, FeedForward, add
from actavatar_jax.models.avatar.relay import window_bias
from actavatar_jax.models.execution import Execution
from actavatar_jax.models.layers import layer_norm, linear, rms_norm
from actavatar_jax.parallel import BATCH, SEQ, constrain


class Block(nnx.Module):
    """Self-attention, decoupled cross-attention (eq. 2), feed-forward."""

    def __init__(self, config: EchoMimicConfig, execution: Execution, *, rngs: nnx.Rngs):
        c, e = config, execution
        self.execution = e
        self.modulation = nnx.Param(jax.random.normal(rngs.params(), (6, c.width)) / c.width**0.5)
        self.self_norm = layer_norm(c.width, epsilon=c.eps, affine=False, rngs=rngs)
        self.self_attn = Attention(c, e, rngs=rngs)
        self.cross_norm = layer_norm(c.width, epsilon=c.eps, rngs=rngs)
        self.cross_attn = Attention(c, e, rngs=rngs)  # text's; its query and output serve all three
        self.image_attn = KeysValues(c, e, rngs=rngs)
        self.audio_attn = AUDIO_KEYS[c.variant](c, e, rngs=rngs)
        self.ffn_norm = layer_norm(c.width, epsilon=c.eps, affine=False, rngs=rngs)
        self.ffn = FeedForward(c, e, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "B T P D"],
        modulation: Float[Array, "B T 6 D"],
        conditions: Conditions,
        keys_values: Sources,
    ) -> Float[Array, "B T P D"]:
        modulation = self.modulation[...][None, None] + modulation
        shift_sa, scale_sa, gate_sa, shift_ff, scale_ff, gate_ff = (modulation[:, :, i, None] for i in range(6))

        x = add(x, gate_sa * self.self_attn.attend_self(self.self_norm(x) * (1 + scale_sa) + shift_sa, conditions.rope))
        x = add(x, self.attend_sources(self.cross_norm(x), keys_values, conditions))
        return add(x, gate_ff * self.ffn(self.ffn_norm(x) * (1 + scale_ff) + shift_ff))

    def attend_sources(
        self, x: Float[Array, "B T P D"], keys_values: Sources, conditions: Conditions
    ) -> Float[Array, "B T P D"]:
        """The sum of the three results before the one output projection. The paper sums keys and values (eq. 2); the
        published code, and so its weights, sum what attention makes of them."""
        q = self.cross_attn.queries(x.reshape(x.shape[0], -1, x.shape[-1]))
        frames = q.reshape(*x.shape[:3], *q.shape[2:])
        bias = window_bias(conditions.window_penalty, x.shape[2])
        heard = Sources(
            text=attention(q, *keys_values.text, self.execution, bias=bias).reshape(frames.shape),
            image=attention(q, *keys_values.image, self.execution).reshape(frames.shape),
            audio=attend_frames(frames, keys_values.audio),
        )
        mixed = sum(
            strength[:, None, :, None, None].astype(one.dtype) * one
            for strength, one in zip(conditions.strengths, heard, strict=True)
        )
        return self.cross_attn.output(mixed.reshape(q.shape)).reshape(x.shape)

    def keys_values(self, tokens: Sources) -> Sources:
        """Keys and values: text [2, B, S, N, K], image [2, B, I, N, K], audio [2, B, T, A, N, K]."""
        audio = jnp.stack(self.audio_attn(tokens.audio))
        return Sources(
            text=constrain(jnp.stack(self.cross_attn.keys_values(tokens.text)), None, BATCH),
            image=constrain(jnp.stack(self.image_attn(tokens.image)), None, BATCH),
            audio=constrain(audio, None, BATCH, SEQ),
        )


class KeysValues(nnx.Module):
    """Keys and values of the picture or, with the options of a variant, of the speech."""

    def __init__(self, config: EchoMimicConfig, execution: Execution, *, rngs: nnx.Rngs, **options):
        inner = config.heads * config.head_dim
        self.key = linear(config.width, inner, execution, rngs, **options)
        self.value = linear(config.width, inner, execution, rngs, **options)
        self.norm_key = rms_norm(inner, epsilon=config.eps, rngs=rngs)
        self.heads, self.dtype = config.heads, execution.dtype

    def __call__(self, x: Float[Array, "*rest D"]) -> tuple[Float[Array, "*rest N K"], Float[Array, "*rest N K"]]:
        return self._heads(self.norm_key(self.key(x))), self._heads(self.value(x))

    def _heads(self, x: Array) -> Array:
        return x.reshape(*x.shape[:-1], self.heads, -1).astype(self.dtype)


class PreviewKeysValues(KeysValues):
    """Without bias: a feature of zeros has a key and a value of zeros. At step 0 the backbone hears nothing."""

    def __init__(self, config: EchoMimicConfig, execution: Execution, *, rngs: nnx.Rngs):
        super().__init__(config, execution, rngs=rngs, kernel_init=nnx.initializers.zeros, use_bias=False)


class FlashKeysValues(KeysValues):
    """With a query that the published weights have and nothing reads: the code overwrites it with text's."""

    def __init__(self, config: EchoMimicConfig, execution: Execution, *, rngs: nnx.Rngs):
        super().__init__(config, execution, rngs=rngs)
        self.query = linear(config.heads * config.head_dim, config.heads * config.head_dim, execution, rngs)


AUDIO_KEYS = {"preview": PreviewKeysValues, "flash": FlashKeysValues}
