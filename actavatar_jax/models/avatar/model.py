"""ActAvatarDiT: the Wan2.2-TI2V-5B transformer with phase-aware text and a depth-scaled audio adapter.

B batch, T latent frames, H W latent height and width, C latent channels, P tokens per latent frame, L = T*P video
tokens, D width, N heads, K head dim, S text tokens, A audio tokens per latent frame, F = 4(T-1)+1 video frames.
Inside, video tokens stay [B, T, P, D]: timestep modulation and audio are constant within a latent frame.

Source of the architecture: Wan-Video/Wan2.2 wan/modules/model.py; eq. numbers are ActAvatar's (arXiv 2512.19546).
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from actavatar_jax.models.attention import SAVED
from actavatar_jax.models.avatar.audio_adapter import AudioProjection, depth_scale
from actavatar_jax.models.avatar.block import MLP, Block, Head
from actavatar_jax.models.avatar.config import Conditions, DiTConfig
from actavatar_jax.models.avatar.guess import gaussian_data, precondition
from actavatar_jax.models.avatar.intervals import is_timed, key_turns, query_turns
from actavatar_jax.models.avatar.positions import frame_sinusoids, patchify, place_sinusoids, sinusoid, unpatchify
from actavatar_jax.models.avatar.relay import window_penalty
from actavatar_jax.models.avatar.rope import rope_table
from actavatar_jax.models.execution import ISLAND, Execution
from actavatar_jax.models.layers import linear
from actavatar_jax.parallel import BATCH, SEQ, constrain
from actavatar_jax.prompt.forms import bias_of, has_anchors, turn_of


class ActAvatarDiT(nnx.Module):
    """Latents at flow time t, text with phases, speech -> velocity `noise - data` (eq. 7)."""

    def __init__(self, config: DiTConfig, execution: Execution = Execution(), *, rngs: nnx.Rngs):  # noqa: B008 - frozen
        c, e = config, execution
        self.config, self.execution = c, e
        normal = nnx.initializers.normal(0.02)
        patch = c.patch[0] * c.patch[1] * c.patch[2]
        self.patch_embedding = linear(c.in_channels * patch, c.width, e, rngs)
        self.time_embedding = MLP(c.freq_dim, c.width, nnx.silu, ISLAND, normal, rngs=rngs)
        self.time_projection = linear(c.width, 6 * c.width, ISLAND, rngs)
        self.text_embedding = MLP(c.text_dim, c.width, nnx.gelu, e, normal, rngs=rngs)
        self.phase_embedding = nnx.Embed(  # row 0 is the base block; eq. 2
            c.max_phases + 1, c.text_dim, embedding_init=nnx.initializers.zeros, rngs=rngs
        )
        self.audio_projection = AudioProjection(c.audio, e, rngs=rngs)
        self.blocks = nnx.vmap(lambda r: Block(c, e, rngs=r))(rngs.split(c.layers))
        self.head = Head(c, rngs=rngs)
        if c.frame_time:
            self.frame_time = linear(c.freq_dim, c.width, ISLAND, rngs, nnx.initializers.zeros)
        if c.place:
            self.place = linear(2 * c.freq_dim, c.width, ISLAND, rngs, nnx.initializers.zeros)
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
          phase_ids: 0 base block, k phase k, -1 padding; the end token has that of the base, or of the last phase where
            texts are bare (`prompt.forms`).
          phase_windows: seconds [start, end] of phases 1.., zeros where unused; `paper` does not read them.
          audio: speech features, one per video frame; zeros are the null audio.
          grid: latent (T, H, W).
        """
        c = self.config
        frames, height, width = grid
        text, form = text.astype(jnp.float32), turn_of(c.phase_time)
        if has_anchors(c.phase_time):
            phases = self.phase_embedding(jnp.maximum(phase_ids, 0))
            text += jnp.where(phase_ids[..., None] >= 0, phases, 0.0)
        timed, scale = is_timed(phase_ids), c.time_scale
        return Conditions(
            text=constrain(self.text_embedding(text), BATCH),
            audio=self.audio_projection(audio, frames),
            rope=jnp.asarray(rope_table((frames, height // c.patch[1], width // c.patch[2]), c.head_dim)),
            frame_time=self.frame_time(frame_sinusoids(frames, c.freq_dim, c.rate)) if c.frame_time else None,
            window_penalty=window_penalty(phase_ids, phase_windows, frames, c.rate) if bias_of(c.phase_time) else None,
            key_turns=key_turns(form, phase_ids, phase_windows, c.head_dim, scale) if form else None,
            query_turns=query_turns(timed, frames, c.head_dim, scale, c.rate) if form else None,
        )

    def cache(self, conditions: Conditions) -> Conditions:
        """Adds every block's text and audio keys and values: done once per sample instead of once per step."""
        text, audio = jax.lax.map(lambda block: block.keys_values(conditions), self.blocks)
        return dataclasses.replace(conditions, text=None, audio=None, text_keys_values=text, audio_keys_values=audio)

    def __call__(
        self, latents: Float[Array, "B T H W C"], timesteps: Float[Array, "B T"], conditions: Conditions
    ) -> Float[Array, "B T H W C"]:
        """Velocity. `timesteps` are 1000 t per latent frame: 0 where the frame is clean."""
        if not self.config.linear_guess:
            return self._velocity(latents, timesteps, conditions)
        return precondition(self._velocity, self._variance())(latents, timesteps, conditions)

    def _velocity(self, latents: Array, timesteps: Array, conditions: Conditions) -> Array:
        x, time, modulation = self._embed(latents, timesteps, conditions)

        def apply(x, layer):
            block, audio_scale, text_kv, audio_kv = layer
            if text_kv is None:
                text_kv, audio_kv = block.keys_values(conditions)
            return block(x, modulation, conditions, text_kv, audio_kv, audio_scale)

        x = scan_blocks(apply, x, self._layers(conditions), self.execution.remat)
        return unpatchify(self.head(x, time), latents.shape, self.config.patch)

    def text_attention(
        self, latents: Float[Array, "B T H W C"], timesteps: Float[Array, "B T"], conditions: Conditions
    ) -> Float[Array, "layers B T S"]:
        """How every block's text cross-attention is spread over the text tokens, padding included: rows sum to 1.

        Mean over heads and over the tokens of a latent frame. A diagnostic: each self-attention runs twice.
        """
        conditions = conditions if conditions.text is None else self.cache(conditions)
        if self.config.linear_guess:
            latents = gaussian_data(latents, timesteps / 1000, self._variance())
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
        x = self.patch_embedding(patchify(latents, c.patch)).astype(self.execution.stream or self.execution.dtype)
        if conditions.frame_time is not None:
            x = x + conditions.frame_time[None, :, None].astype(x.dtype)
        if c.place:
            rows, columns = latents.shape[2] // c.patch[1], latents.shape[3] // c.patch[2]
            x = x + self.place(place_sinusoids(rows, columns, c.freq_dim))[None, None].astype(x.dtype)
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


def scan_blocks(apply: Callable[[Array, Any], Array], x: Float[Array, "B T P D"], layers: Any, remat: str) -> Array:
    """`x` after all blocks: `x = apply(x, layer)` for every one of `layers`, a tree with that leading axis."""

    def body(tokens, layer):
        # Pinned on both ends: else XLA may choose another layout for the loop, and gather whole arrays to leave it.
        frames = apply(constrain(tokens.reshape(x.shape), BATCH, SEQ), layer)
        return constrain(frames, BATCH, SEQ).reshape(tokens.shape), None

    # Between blocks [B, L, D]: of [B, T, P, D] the backward pass would keep a second copy, its frames side by side.
    tokens = x.reshape(x.shape[0], -1, x.shape[-1])
    tokens, _ = jax.lax.scan(rematerialised(body, remat), tokens, layers)
    return tokens.reshape(x.shape)


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
