"""Which part of the prompt a block looks at, moment by moment: the paper's Figure 4 for any model and prompt.

T latent frames, S text tokens, C latent channels; parts of a prompt are its base and its phases.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from actavatar_jax import functional
from actavatar_jax.diffusion import frame_times, interpolate, keep_clean, sample_noise
from actavatar_jax.media import Video
from actavatar_jax.models.avatar import Conditions
from actavatar_jax.pipeline import ActAvatarPipeline, embed_conditions, in_form
from actavatar_jax.prompt import StructuredPrompt
from actavatar_jax.prompt.forms import has_anchors


def text_attention(
    pipeline: ActAvatarPipeline, video: Video, prompt: StructuredPrompt, level: float = 0.9, seed: int = 0
) -> Float[np.ndarray, "layers T parts"]:
    """Share of text attention that goes to the base (column 0) and to each phase, per block and latent frame.

    Mean over heads and over the places of a picture. The blocks read `video` (4k+1 frames with sound, sampled or real)
    mixed with noise as it is at flow time `level`: timing is decided near 1, where hardly anything but the prompt is
    known. See `phase_shares` for what counts.
    """
    latents = jnp.asarray(pipeline.encoders.video(video.frames)[None])
    text, phase_ids = pipeline.encoders.text(
        [prompt], strict=False, anchors=has_anchors(pipeline.transformer.config.phase_time)
    )
    audio = pipeline.encoders.audio(video.audio, len(video.frames), video.fps)[None]
    network, params = in_form(pipeline.transformer.network, rate=video.fps), pipeline.transformer.params
    windows = prompt.windows(network.config.max_phases)[None]
    conditions = embed_conditions(network, params, text, phase_ids, windows, audio, latents.shape[1:4])

    noise = sample_noise(seed, np.arange(1), latents.shape[1:])
    times = jnp.full(1, level)
    noised = keep_clean(interpolate(latents, noise, times), latents[:, :1])
    weights = _weights(network, params, noised, frame_times(times, latents.shape[1]), conditions)
    return phase_shares(np.asarray(weights)[:, 0], phase_ids[0], len(prompt.phases))


def phase_shares(
    weights: Float[np.ndarray, "layers T S"], phase_ids: Int[np.ndarray, " S"], phases: int
) -> Float[np.ndarray, "layers T {phases}+1"]:
    """The weights summed by phase. Padding and the end token, which say nothing, are left out; the rest sums to 1.

    A phase's anchor (`Phase-1 [0-2s]:`) belongs to its phase.
    """
    words = np.flatnonzero(phase_ids >= 0)[:-1]
    members = phase_ids[words, None] == np.arange(phases + 1)
    sums = weights[..., words] @ members.astype(weights.dtype)
    return sums / sums.sum(axis=-1, keepdims=True)


def early_and_late(layers: int) -> tuple[int, int]:
    """The blocks, counted from 0, that lie where Figure 4's blocks 5 and 20 of 30 do."""
    return -(-layers // 6) - 1, -(-2 * layers // 3) - 1


@functools.partial(jax.jit, static_argnums=0, compiler_options=functional.RUN_ONCE)
def _weights(
    network: functional.Network,
    params: functional.Params,
    latents: Float[Array, "B T H W C"],
    timesteps: Float[Array, "B T"],
    conditions: Conditions,
) -> Float[Array, "layers B T S"]:
    return network.bind(params).text_attention(latents, timesteps, conditions)
