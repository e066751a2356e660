"""The audio adapter: speech features -> frame-aligned tokens -> one cross-attention per block, scaled by depth.

The architecture is MultiTalk's (frame-wise attention to 32 tokens per latent frame); ActAvatar multiplies each block's
result by `depth_scale` (eq. 4 and 5). B batch, T latent frames, F = 4(T-1)+1 video frames, A audio tokens per latent
frame, D width, N heads, K head dim.
"""

import dataclasses
import typing

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from actavatar_jax.checks import Limit, check_fields
from actavatar_jax.models.execution import Execution
from actavatar_jax.models.layers import layer_norm, linear
from actavatar_jax.models.limits import DEPTH, SIZE
from actavatar_jax.parallel import BATCH, SEQ, constrain

FIRST_WINDOW = 5  # features around frame 0 that latent frame 0 sees
GROUP_WINDOW = 8  # features 4i-5 .. 4i+2 that latent frame i >= 1 sees


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class AudioAdapterConfig:
    feature_layers: int = 12  # hidden states per video frame
    feature_width: int = 768
    hidden: int = 512
    tokens: int = 32  # A
    token_width: int = 768
    gamma: float = 1.5  # exponent of the depth scale; 0 turns it off

    LIMITS: typing.ClassVar[dict[str, Limit]] = {
        **dict.fromkeys(("feature_width", "hidden", "tokens", "token_width"), SIZE),
        "feature_layers": DEPTH,
        "gamma": Limit("a number from 0 to 100", lambda x: 0 <= x <= 100),
    }

    def __post_init__(self):
        check_fields(self, "audio adapter's ", **self.LIMITS)


def depth_scale(layers: int, gamma: float) -> Float[np.ndarray, " layers"]:
    """`f(l) = (l / L)^gamma` for blocks l = 1..L (eq. 5)."""
    return ((np.arange(layers) + 1) / layers).astype(np.float32) ** np.float32(gamma)


class AudioProjection(nnx.Module):
    """Speech features of 25 Hz -> A tokens per latent frame."""

    def __init__(self, config: AudioAdapterConfig, execution: Execution, *, rngs: nnx.Rngs):
        feature = config.feature_layers * config.feature_width
        self.first = linear(FIRST_WINDOW * feature, config.hidden, execution, rngs)
        self.rest = linear(GROUP_WINDOW * feature, config.hidden, execution, rngs)
        self.hidden = linear(config.hidden, config.hidden, execution, rngs)
        self.tokens = linear(config.hidden, config.tokens * config.token_width, execution, rngs)
        self.norm = layer_norm(config.token_width, epsilon=1e-5, rngs=rngs)
        self.config = config

    def __call__(self, features: Float[Array, "B F layers E"], latent_frames: int) -> Float[Array, "B T A tokenwidth"]:
        """Tokens of `latent_frames` latents; windows that reach over the recording's ends are clamped to it."""
        batch, frames = features.shape[:2]
        windows = np.clip(feature_windows(latent_frames), 0, frames - 1)
        first = features[:, np.arange(-2, 3).clip(0, frames - 1)]
        rest = features[:, windows]
        first = self.first(first.reshape(batch, 1, -1))
        rest = self.rest(rest.reshape(batch, latent_frames - 1, -1))
        # On a mesh, windows are read where the whole recording is; from here on frames lie where the video's do.
        x = constrain(nnx.relu(jnp.concatenate([first, rest], axis=1)), BATCH, SEQ)
        x = constrain(self.tokens(nnx.relu(self.hidden(x))), BATCH, SEQ)
        return self.norm(x.reshape(batch, latent_frames, self.config.tokens, self.config.token_width))


def feature_windows(latent_frames: int) -> np.ndarray:
    """Feature indices `4i-5 .. 4i+2` of latent frames i >= 1, not clamped: int [T-1, 8]."""
    return 4 * np.arange(1, latent_frames)[:, None] + np.arange(-5, 3)[None]


class AudioCrossAttention(nnx.Module):
    """Each latent frame's video tokens attend to that frame's audio tokens only."""

    def __init__(
        self, config: AudioAdapterConfig, width: int, heads: int, head_dim: int, execution: Execution, *, rngs: nnx.Rngs
    ):
        inner = heads * head_dim
        self.query = linear(width, inner, execution, rngs)
        self.key_value = linear(config.token_width, 2 * inner, execution, rngs)
        # Zero: at step 0 the backbone is untouched for any audio.
        self.out = linear(inner, width, execution, rngs, kernel_init=nnx.initializers.zeros)
        self.heads = heads

    def keys_values(self, tokens: Float[Array, "B T A E"]) -> Float[Array, "2 B T A N K"]:
        """Keys and values of every latent frame; they depend on neither the video nor the noise level."""
        key_value = self.key_value(tokens).reshape(*tokens.shape[:3], 2, self.heads, -1)
        return constrain(jnp.moveaxis(key_value, 3, 0), None, BATCH, SEQ)

    def __call__(self, x: Float[Array, "B T P D"], keys_values: Float[Array, "2 B T A N K"]) -> Float[Array, "B T P D"]:
        """x has P tokens in each of T latent frames."""
        q = self.query(x).reshape(*x.shape[:3], self.heads, -1)
        return self.out(attend_frames(q, keys_values).reshape(*x.shape[:3], -1))


def attend_frames(q: Float[Array, "B T P N K"], keys_values: Float[Array, "2 B T A N K"]) -> Float[Array, "B T P N K"]:
    """Attention of each latent frame's queries to that frame's keys."""
    # 32 keys per frame: scores are small, so every platform uses the plain form. Samples and frames stay apart,
    # because each may be cut over a mesh.
    return jax.vmap(jax.nn.dot_product_attention, in_axes=1, out_axes=1)(q, *keys_values)
