"""ActAvatarDiT: the Wan2.2-TI2V-5B transformer with phase-aware text and a depth-scaled audio adapter.

B batch, T latent frames, H W latent height and width, C latent channels, P tokens per latent frame, L = T*P video
tokens, D width, N heads, K head dim, S text tokens, A audio tokens per latent frame, F = 4(T-1)+1 video frames.
Inside, video tokens stay [B, T, P, D]: timestep modulation and audio are constant within a latent frame.

Source of the architecture: Wan-Video/Wan2.2 wan/modules/model.py; eq. numbers are ActAvatar's (arXiv 2512.19546).
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from actavatar_jax.media.clock import latent_times
from actavatar_jax.models.attention import SAVED, attention
from actavatar_jax.models.avatar.audio_adapter import (
    AudioAdapterConfig,
    AudioCrossAttention,
    AudioProjection,
    depth_scale,
)
from actavatar_jax.models.avatar.rope import apply_rope, rope_table
from actavatar_jax.models.avatar.window import window_penalty
from actavatar_jax.models.layers import layer_norm, linear, rms_norm
from actavatar_jax.parallel.layout import BATCH, SEQ, constrain


@dataclasses.dataclass(frozen=True)
class DiTConfig:
    """Defaults are Wan2.2-TI2V-5B with the paper's additions."""

    width: int = 3072
    heads: int = 24
    head_dim: int = 128
    ffn: int = 14336
    layers: int = 30
    in_channels: int = 48
    out_channels: int = 48
    text_dim: int = 4096
    text_len: int = 512
    freq_dim: int = 256
    eps: float = 1e-6
    patch: tuple[int, int, int] = (1, 2, 2)
    max_phases: int = 8
    audio: AudioAdapterConfig = dataclasses.field(default_factory=AudioAdapterConfig)
    # Helps that the paper does not have; each but the last starts as the identity.
    phase_bias: str = "none"  # none | soft (learnable strength from zero) | hard: window bias on phase tokens
    frame_time: bool = False  # absolute time added to video tokens, for backbones trained from scratch
    place: bool = False  # absolute row and column likewise, for codes whose bases differ from place to place
    linear_guess: bool = False  # see, and learn only what is missed by, the best linear guess: for small worlds
    # How to execute; never stored with weights.
    dtype: str = "float32"  # of matrix products and of the residual stream
    attention: str = "xla"  # xla | chunked | cudnn | splash
    # What the backward pass finds: none (everything kept) | full (every block is computed again) | attention (again but
    # for attention outputs, which are kept) | offload (likewise, and they wait in the host's memory)
    remat: str = "none"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Conditions:
    """What a sample is conditioned on, in the form that the blocks use; the same at every noise level.

    text [B, S, D] and audio [B, T, A, E] (None once their keys and values are there), rope [2, L, K/2], frame_time
    [T, D] or None, window_penalty [B, T, S] or None, text_keys_values [layers, 2, B, S, N, K] and
    audio_keys_values [layers, 2, B, T, A, N, K] (None until `ActAvatarDiT.cache`).
    """

    text: Array | None
    audio: Array | None
    rope: Array
    frame_time: Array | None
    window_penalty: Array | None
    text_keys_values: Array | None = None
    audio_keys_values: Array | None = None


class ActAvatarDiT(nnx.Module):
    """Latents at flow time t, text with phases, speech -> velocity `noise - data` (eq. 7)."""

    def __init__(self, config: DiTConfig, *, rngs: nnx.Rngs):
        c = self.config = config
        normal = nnx.initializers.normal(0.02)
        patch = c.patch[0] * c.patch[1] * c.patch[2]
        self.patch_embedding = linear(c.in_channels * patch, c.width, c.dtype, rngs)
        self.time_embedding = MLP(c.freq_dim, c.width, nnx.silu, "float32", normal, rngs=rngs)
        self.time_projection = linear(c.width, 6 * c.width, "float32", rngs)
        self.text_embedding = MLP(c.text_dim, c.width, nnx.gelu, c.dtype, normal, rngs=rngs)
        self.phase_embedding = nnx.Embed(  # row 0 is the base block; eq. 2
            c.max_phases + 1, c.text_dim, embedding_init=nnx.initializers.zeros, rngs=rngs
        )
        self.audio_projection = AudioProjection(c.audio, c.dtype, rngs=rngs)
        self.blocks = nnx.vmap(lambda r: Block(c, rngs=r))(rngs.split(c.layers))
        self.head = Head(c, rngs=rngs)
        if c.frame_time:
            self.frame_time = linear(c.freq_dim, c.width, "float32", rngs, nnx.initializers.zeros)
        if c.place:
            self.place = linear(2 * c.freq_dim, c.width, "float32", rngs, nnx.initializers.zeros)
        if c.linear_guess:
            self.latent_log_variance = nnx.Param(jnp.zeros(c.out_channels))

    def condition(
        self,
        text: Float[Array, "B S textdim"],
        phase_ids: Int[Array, "B S"],
        phase_windows: Float[Array, "B phases 2"],
        audio: Float[Array, "B F featurelayers E"],
        grid: tuple[int, int, int],
    ) -> Conditions:
        """Embeds what stays the same at every noise level.

        Args:
          text: encoder output, exact zeros beyond the prompt's end (those rows take part in attention, as in Wan).
          phase_ids: 0 base block and end token, k phase k, -1 padding.
          phase_windows: seconds [start, end] of phases 1.., zeros where unused; read by the window bias only.
          audio: speech features at 25 Hz; zeros are the null audio.
          grid: latent (T, H, W).
        """
        c = self.config
        frames, height, width = grid
        phases = self.phase_embedding(jnp.maximum(phase_ids, 0))
        text = text.astype(jnp.float32) + jnp.where(phase_ids[..., None] >= 0, phases, 0.0)
        frame_time = None
        if c.frame_time:
            # Milliseconds over 5: the sinusoid's usual range of 0 .. 1000 for a clip of 5 s.
            frame_time = self.frame_time(sinusoid(jnp.asarray(latent_times(frames)) * 200, c.freq_dim))
        return Conditions(
            text=constrain(self.text_embedding(text), BATCH),
            audio=self.audio_projection(audio, frames),
            rope=jnp.asarray(rope_table((frames, height // c.patch[1], width // c.patch[2]), c.head_dim)),
            frame_time=frame_time,
            window_penalty=None if c.phase_bias == "none" else window_penalty(phase_ids, phase_windows, frames),
        )

    def cache(self, conditions: Conditions) -> Conditions:
        """Adds every block's text and audio keys and values: done once per sample instead of once per step."""
        text, audio = jax.lax.map(lambda block: block.keys_values(conditions), self.blocks)
        return dataclasses.replace(conditions, text=None, audio=None, text_keys_values=text, audio_keys_values=audio)

    def __call__(
        self, latents: Float[Array, "B T H W C"], timesteps: Float[Array, "B T"], conditions: Conditions
    ) -> Float[Array, "B T H W C"]:
        """Velocity. `timesteps` are 1000 t per latent frame: 0 where the frame is clean."""
        x, time, modulation = self._embed(latents, timesteps, conditions)

        def body(tokens, layer):
            block, audio_scale, text_kv, audio_kv = layer
            if text_kv is None:
                text_kv, audio_kv = block.keys_values(conditions)
            # Pinned on both ends: else XLA may choose another layout for the loop, and gather whole arrays to leave it.
            frames = constrain(tokens.reshape(x.shape), BATCH, SEQ)
            frames = block(frames, modulation, conditions, text_kv, audio_kv, audio_scale)
            return constrain(frames, BATCH, SEQ).reshape(tokens.shape), None

        # Between blocks [B, L, D]: of [B, T, P, D] the backward pass would keep a second copy, its frames side by side.
        tokens = x.reshape(x.shape[0], -1, x.shape[-1])
        tokens, _ = jax.lax.scan(rematerialised(body, self.config.remat), tokens, self._layers(conditions))
        velocity = unpatchify(self.head(tokens.reshape(x.shape), time), latents.shape, self.config.patch)
        if not self.config.linear_guess:
            return velocity
        known, deviation = gaussian_velocity(latents, timesteps / 1000, self._variance())
        return known + deviation * velocity

    def text_attention(
        self, latents: Float[Array, "B T H W C"], timesteps: Float[Array, "B T"], conditions: Conditions
    ) -> Float[Array, "layers B T S"]:
        """How every block's text cross-attention is spread over the text tokens, padding included: rows sum to 1.

        Mean over heads and over the tokens of a latent frame. A diagnostic: each self-attention runs twice.
        """
        conditions = conditions if conditions.text is None else self.cache(conditions)
        x, _, modulation = self._embed(latents, timesteps, conditions)

        def body(x, layer):
            block, audio_scale, text_kv, audio_kv = layer
            weights = block.text_weights(x, modulation, conditions, text_kv)
            return block(x, modulation, conditions, text_kv, audio_kv, audio_scale), weights

        return jax.lax.scan(body, x, self._layers(conditions))[1]

    def _embed(self, latents: Array, timesteps: Array, conditions: Conditions) -> tuple[Array, Array, Array]:
        """Video tokens [B, T, P, D], time embedding [B, T, D] and the blocks' modulation [B, T, 6, D]."""
        c = self.config
        latents, timesteps = constrain(latents, BATCH, SEQ), constrain(timesteps, BATCH, SEQ)
        if c.linear_guess:
            latents = gaussian_data(latents, timesteps / 1000, self._variance())
        x = self.patch_embedding(patchify(latents, c.patch)).astype(c.dtype)
        if conditions.frame_time is not None:
            x = x + conditions.frame_time[None, :, None].astype(c.dtype)
        if c.place:
            rows, columns = np.mgrid[: latents.shape[2] // c.patch[1], : latents.shape[3] // c.patch[2]].reshape(2, -1)
            # Times 100: rows a few radians apart at the sinusoid's middle frequencies.
            places = [sinusoid(jnp.asarray(100.0 * axis), c.freq_dim) for axis in (rows, columns)]
            x = x + self.place(jnp.concatenate(places, axis=-1))[None, None].astype(c.dtype)
        time = constrain(self.time_embedding(sinusoid(timesteps, c.freq_dim)), BATCH, SEQ)
        modulation = constrain(self.time_projection(nnx.silu(time)), BATCH, SEQ)
        return x, time, modulation.reshape(*timesteps.shape, 6, c.width)

    def _variance(self) -> Float[Array, "C"]:
        """What `linear_guess` takes for the variance of each channel of clean latents; learnt."""
        return jnp.exp(self.latent_log_variance[...].astype(jnp.float32))

    def _layers(self, conditions: Conditions) -> tuple:
        """What a scan over the blocks reads: per-layer keys and values are None where the block computes them."""
        scales = jnp.asarray(depth_scale(self.config.layers, self.config.audio.gamma))
        return self.blocks, scales, conditions.text_keys_values, conditions.audio_keys_values


class Block(nnx.Module):
    """Self-attention, text cross-attention (eq. 3), audio cross-attention (eq. 4), feed-forward."""

    def __init__(self, config: DiTConfig, *, rngs: nnx.Rngs):
        c = self.config = config
        self.modulation = nnx.Param(jax.random.normal(rngs.params(), (6, c.width)) / c.width**0.5)
        self.self_norm = layer_norm(c.width, epsilon=c.eps, affine=False, rngs=rngs)
        self.self_attn = Attention(c, rngs=rngs)
        self.cross_norm = layer_norm(c.width, epsilon=c.eps, rngs=rngs)
        self.cross_attn = Attention(c, rngs=rngs)
        self.audio_norm = layer_norm(c.width, epsilon=c.eps, rngs=rngs)
        self.audio_attn = AudioCrossAttention(c.audio, c.width, c.heads, c.head_dim, c.dtype, rngs=rngs)
        self.ffn_norm = layer_norm(c.width, epsilon=c.eps, affine=False, rngs=rngs)
        self.ffn = FeedForward(c, rngs=rngs)
        if c.phase_bias == "soft":
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

        x = add(x, gate_sa * self.attend_self(self.self_norm(x) * (1 + scale_sa) + shift_sa, conditions.rope))
        x = add(x, self.attend_text(self.cross_norm(x), text_kv, conditions.window_penalty))
        x = add(x, audio_scale * self.audio_attn(self.audio_norm(x), audio_kv))
        return add(x, gate_ff * self.ffn(self.ffn_norm(x) * (1 + scale_ff) + shift_ff))

    def attend_self(self, x: Float[Array, "B T P D"], rope: Float[Array, "2 L pairs"]) -> Float[Array, "B T P D"]:
        tokens = x.reshape(x.shape[0], -1, x.shape[-1])
        q = apply_rope(self.self_attn.queries(tokens), rope)
        k, v = self.self_attn.keys_values(tokens)
        out = attention(q, apply_rope(k, rope), v, backend=self.config.attention, cut="heads")
        return self.self_attn.output(out).reshape(x.shape)

    def attend_text(
        self, x: Float[Array, "B T P D"], kv: Float[Array, "2 B S N K"], penalty: Float[Array, "B T S"] | None
    ) -> Float[Array, "B T P D"]:
        tokens = x.reshape(x.shape[0], -1, x.shape[-1])
        bias = self.window_bias(penalty, x.shape[2])
        out = attention(self.cross_attn.queries(tokens), *kv, bias=bias, backend=self.config.attention)
        return self.cross_attn.output(out).reshape(x.shape)

    def window_bias(self, penalty: Float[Array, "B T S"] | None, tokens: int) -> Float[Array, "B 1 L S"] | None:
        """What is added to the text scores, the same for all `tokens` of a latent frame."""
        if penalty is None:
            return None
        strength = self.window_strength[...] if self.config.phase_bias == "soft" else 1.0
        return -strength * jnp.repeat(penalty, tokens, axis=1)[:, None]

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
        x = add(x, gate * self.attend_self(self.self_norm(x) * (1 + scale) + shift, conditions.rope))
        q = self.cross_attn.queries(self.cross_norm(x).reshape(x.shape[0], -1, x.shape[-1]))
        scores = jnp.einsum("BLNK,BSNK->BNLS", q, text_kv[0], preferred_element_type=jnp.float32) / q.shape[-1] ** 0.5
        bias = self.window_bias(conditions.window_penalty, x.shape[2])
        weights = jax.nn.softmax(scores if bias is None else scores + bias, axis=-1)
        return weights.reshape(*weights.shape[:2], *x.shape[1:3], -1).mean(axis=(1, 3))

    def keys_values(self, conditions: Conditions) -> tuple[Array, Array]:
        """Text keys and values [2, B, S, N, K], audio keys and values [2, B, T, A, N, K]."""
        text = constrain(self.cross_attn.keys_values(conditions.text), None, BATCH)
        return text, self.audio_attn.keys_values(conditions.audio)


class Attention(nnx.Module):
    """Projections of one attention; queries and keys are RMS-normed over the full width, before the head split."""

    def __init__(self, config: DiTConfig, *, rngs: nnx.Rngs):
        c, inner = config, config.heads * config.head_dim
        self.query = linear(c.width, inner, c.dtype, rngs)
        self.key = linear(c.width, inner, c.dtype, rngs)
        self.value = linear(c.width, inner, c.dtype, rngs)
        self.out = linear(inner, c.width, c.dtype, rngs)
        self.norm_query = rms_norm(inner, epsilon=c.eps, rngs=rngs)
        self.norm_key = rms_norm(inner, epsilon=c.eps, rngs=rngs)
        self.heads, self.dtype = c.heads, c.dtype

    def queries(self, x: Float[Array, "B L D"]) -> Float[Array, "B L N K"]:
        return self._heads(self.norm_query(self.query(x)))

    def keys_values(self, x: Float[Array, "B S D"]) -> Float[Array, "2 B S N K"]:
        return jnp.stack([self._heads(self.norm_key(self.key(x))), self._heads(self.value(x))])

    def output(self, x: Float[Array, "B L N K"]) -> Float[Array, "B L D"]:
        return self.out(x.reshape(*x.shape[:2], -1))

    def _heads(self, x: Array) -> Array:
        return x.reshape(*x.shape[:2], self.heads, -1).astype(self.dtype)


class FeedForward(nnx.Module):
    """Linear, tanh-GELU, linear."""

    def __init__(self, config: DiTConfig, *, rngs: nnx.Rngs):
        self.up = linear(config.width, config.ffn, config.dtype, rngs)
        self.down = linear(config.ffn, config.width, config.dtype, rngs)

    def __call__(self, x: Float[Array, "B T P D"]) -> Float[Array, "B T P D"]:
        # Pinned, as attention's outputs are: else small activations would be cut like the matrix that follows.
        return self.down(constrain(nnx.gelu(self.up(x)), BATCH, SEQ))


class MLP(nnx.Module):
    """Linear, activation, linear: the time and the text embedding."""

    def __init__(self, inputs: int, width: int, activation, dtype: str, kernel_init, *, rngs: nnx.Rngs):
        self.linear_1 = linear(inputs, width, dtype, rngs, kernel_init)
        self.linear_2 = linear(width, width, dtype, rngs, kernel_init)
        self.activation = activation

    def __call__(self, x: Float[Array, "*rest I"]) -> Float[Array, "*rest D"]:
        return self.linear_2(self.activation(self.linear_1(x)))


class Head(nnx.Module):
    """Modulated norm and projection to patches; its modulation takes the time embedding before the 6-way split."""

    def __init__(self, config: DiTConfig, *, rngs: nnx.Rngs):
        c = config
        patch = c.patch[0] * c.patch[1] * c.patch[2]
        self.modulation = nnx.Param(jax.random.normal(rngs.params(), (2, c.width)) / c.width**0.5)
        self.norm = layer_norm(c.width, epsilon=c.eps, affine=False, rngs=rngs)
        self.out = linear(c.width, c.out_channels * patch, "float32", rngs, nnx.initializers.zeros)

    def __call__(self, x: Float[Array, "B T P D"], time: Float[Array, "B T D"]) -> Float[Array, "B T P out"]:
        modulation = self.modulation[...][None, None] + time[:, :, None]
        shift, scale = modulation[:, :, 0, None], modulation[:, :, 1, None]
        return self.out(self.norm(x) * (1 + scale) + shift)


def add(x: Array, update: Array) -> Array:
    """Residual addition in float32, kept in the dtype of the stream."""
    return (x.astype(jnp.float32) + update.astype(jnp.float32)).astype(x.dtype)


def gaussian_velocity(
    latents: Float[Array, "B T H W C"], times: Float[Array, "B T"], variance: Float[Array, "C"]
) -> tuple[Float[Array, "B T H W C"], Float[Array, "B T 1 1 C"]]:
    """Mean and deviation of the velocity, knowing the noisy latents alone, if data were N(0, variance) (eq. 6, 7).

    What a network adds to the mean in units of the deviation is of size 1 at every flow time, and noise need not pass
    through its tokens: the preconditioning of Karras et al. (arXiv 2206.00364, table 1) for straight paths.
    """
    t, variance = times[:, :, None, None, None], variance[None, None, None, None]
    total = (1 - t) ** 2 * variance + t**2
    return (t - (1 - t) * variance) / total * latents, jnp.sqrt(variance / total)


def gaussian_data(
    latents: Float[Array, "B T H W C"], times: Float[Array, "B T"], variance: Float[Array, "C"]
) -> Float[Array, "B T H W C"]:
    """Mean of the clean latents, knowing the noisy ones alone, if data were N(0, variance) (eq. 6).

    What a network sees in their place: clean latents are themselves, and of pure noise nothing is left, so that at
    time 1 no noise has to be kept out of its tokens.
    """
    t, variance = times[:, :, None, None, None], variance[None, None, None, None]
    return (1 - t) * variance / ((1 - t) ** 2 * variance + t**2) * latents


def sinusoid(t: Float[Array, "*rest"], width: int) -> Float[Array, "*rest width"]:
    """Cosines, then sines of `t * 10000^(-k / (width/2))`."""
    frequencies = jnp.asarray(10_000.0 ** (-np.arange(width // 2) / (width // 2)), jnp.float32)
    angles = t[..., None].astype(jnp.float32) * frequencies.reshape((1,) * t.ndim + (-1,))
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


def patchify(x: Float[Array, "B T H W C"], patch: tuple[int, int, int]) -> Float[Array, "B T P patchvalues"]:
    """1x2x2 patches in raster order, values in (channel, row, column) order."""
    (batch, frames, height, width, channels), (_, ph, pw) = x.shape, patch
    x = x.reshape(batch, frames, height // ph, ph, width // pw, pw, channels)
    return x.transpose(0, 1, 2, 4, 6, 3, 5).reshape(batch, frames, -1, channels * ph * pw)


def unpatchify(
    x: Float[Array, "B T P patchvalues"], shape: tuple[int, ...], patch: tuple[int, int, int]
) -> Float[Array, "B T H W C"]:
    """Inverse raster, but values in (row, column, channel) order: the backbone's head has channels fastest."""
    (batch, frames, height, width, _), (_, ph, pw) = shape, patch
    x = x.reshape(batch, frames, height // ph, width // pw, ph, pw, -1)
    return x.transpose(0, 1, 2, 4, 3, 5, 6).reshape(batch, frames, height, width, -1)


def rematerialised(body, policy: str):
    """The scan body under a rematerialisation policy."""
    if policy == "none":
        return body
    policies = {
        "full": None,
        "attention": jax.checkpoint_policies.save_only_these_names(SAVED),
        "offload": jax.checkpoint_policies.save_and_offload_only_these_names(
            names_which_can_be_saved=[],
            names_which_can_be_offloaded=[SAVED],
            offload_src="device",
            offload_dst="pinned_host",
        ),
    }
    # Inside a scan common-subexpression elimination cannot undo the recomputation.
    return functools.partial(jax.checkpoint, prevent_cse=False, policy=policies[policy])(body)
