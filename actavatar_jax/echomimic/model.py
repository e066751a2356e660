"""EchoMimicDiT: Wan2.1-Fun-V1.1-1.3B-InP with a picture to look at and decoupled attention to speech.

B batch, T latent frames, H W latent height and width, C latent channels, P tokens per latent frame, D width, S text
tokens, I picture tokens. Source: antgroup/echomimic_v3 `src/wan_transformer3d_audio.py` (preview) and
`src/wan_transformer3d_audio_2512.py` (flash).
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from actavatar_jax.echomimic.block import Block
from actavatar_jax.echomimic.config import Conditions, EchoMimicConfig, Sources
from actavatar_jax.echomimic.projections import AudioWindows, ImageProjection, check_audio
from actavatar_jax.models.avatar.audio_adapter import AudioProjection
from actavatar_jax.models.avatar.block import MLP, Head
from actavatar_jax.models.avatar.model import scan_blocks
from actavatar_jax.models.avatar.positions import patchify, sinusoid, unpatchify
from actavatar_jax.models.avatar.rope import rope_table
from actavatar_jax.models.execution import ISLAND, Execution
from actavatar_jax.models.layers import linear
from actavatar_jax.parallel import BATCH, SEQ, constrain


class EchoMimicDiT(nnx.Module):
    """Noisy latents, what of the video is known, text, picture, speech -> velocity `noise - data`."""

    def __init__(self, config: EchoMimicConfig, execution: Execution = Execution(), *, rngs: nnx.Rngs):  # noqa: B008 - frozen
        c, e = config, execution
        self.config, self.execution = c, e
        normal = nnx.initializers.normal(0.02)
        patch = c.patch[0] * c.patch[1] * c.patch[2]
        self.patch_embedding = linear(c.in_channels * patch, c.width, e, rngs)
        self.time_embedding = MLP(c.freq_dim, c.width, nnx.silu, ISLAND, normal, rngs=rngs)
        self.time_projection = linear(c.width, 6 * c.width, ISLAND, rngs)
        self.text_embedding = MLP(c.text_dim, c.width, nnx.gelu, e, normal, rngs=rngs)
        self.image_projection = ImageProjection(c, e, rngs=rngs)
        if c.variant == "flash":
            self.audio_projection = AudioProjection(c.flash_audio, e, rngs=rngs)
        else:
            self.audio_projection = AudioWindows(c, e, rngs=rngs)
        self.blocks = nnx.vmap(lambda r: Block(c, e, rngs=r))(rngs.split(c.layers))
        self.head = Head(c, rngs=rngs)

    def condition(
        self,
        text: Float[Array, "B S textdim"],
        image: Float[Array, "B I imagedim"],
        audio: Float[Array, "B F *layers E"],
        known: Float[Array, "B T H W knownchannels"],
        face: Float[Array, "B P"] | None = None,
        strengths: Float[Array, "B 3"] | None = None,
        window_penalty: Float[Array, "B T S"] | None = None,
        riflex: int | None = None,
    ) -> Conditions:
        """Embeds what stays the same at every noise level.

        Args:
          text: encoder output, exact zeros beyond the prompt's end (those rows take part in attention, as in Wan).
          image: CLIP's hidden state, zeros for none.
          audio: speech features, two for each of the 4T - 3 frames (preview) or one of every layer (flash); zeros are
            the null audio.
          known: four channels of mask, 1 where known, and the latent of what is known.
          face: where in every frame speech is heard (preview); None: everywhere.
          strengths: what the results of text, picture and speech are multiplied by; None: 1.
          window_penalty: how far latent frames lie outside the windows of the text's phases (`models.avatar.relay`).
          riflex: latent frames of the whole video, of which this may be a part, to slow a frequency for (`rope_table`).

        Raises:
          InputError: the speech is not as long as the video.
        """
        c = self.config
        batch, frames, height, width, _ = known.shape
        check_audio(audio.shape[1], frames, c.variant)
        of_text, of_image, of_audio = jnp.split(jnp.ones((batch, 3)) if strengths is None else strengths, 3, axis=1)
        return Conditions(
            known=known,
            rope=jnp.asarray(rope_table((frames, height // c.patch[1], width // c.patch[2]), c.head_dim, riflex)),
            strengths=Sources(of_text, of_image, of_audio if face is None else of_audio * face),
            tokens=Sources(
                text=constrain(self.text_embedding(text), BATCH),
                image=constrain(self.image_projection(image), BATCH),
                audio=self.audio_projection(audio, frames),
            ),
            window_penalty=window_penalty,
        )

    def cache(self, conditions: Conditions) -> Conditions:
        """Adds every block's keys and values: done once per sample instead of once per step."""
        keys_values = jax.lax.map(lambda block: block.keys_values(conditions.tokens), self.blocks)
        return dataclasses.replace(conditions, tokens=None, keys_values=keys_values)

    def __call__(
        self, latents: Float[Array, "B T H W C"], timesteps: Float[Array, "B T"], conditions: Conditions
    ) -> Float[Array, "B T H W C"]:
        """Velocity. `timesteps` are 1000 t, in the published model the same for all latent frames."""
        x, time, modulation = self.begin(latents, timesteps, conditions)
        return self.end(self.through_blocks(x, modulation, conditions), time, latents.shape)

    def begin(
        self, latents: Float[Array, "B T H W C"], timesteps: Float[Array, "B T"], conditions: Conditions
    ) -> tuple[Float[Array, "B T P D"], Float[Array, "B T D"], Float[Array, "B T 6 D"]]:
        """Tokens before the blocks, embedded times, and what blocks make of these."""
        c = self.config
        latents, timesteps = constrain(latents, BATCH, SEQ), constrain(timesteps, BATCH, SEQ)
        seen = jnp.concatenate([latents, conditions.known.astype(latents.dtype)], axis=-1)
        x = self.patch_embedding(patchify(seen, c.patch)).astype(self.execution.stream or self.execution.dtype)
        time = constrain(self.time_embedding(sinusoid(timesteps, c.freq_dim)), BATCH, SEQ)
        modulation = constrain(self.time_projection(nnx.silu(time)), BATCH, SEQ)
        return x, time, modulation.reshape(*timesteps.shape, 6, c.width)

    def through_blocks(
        self, x: Float[Array, "B T P D"], modulation: Float[Array, "B T 6 D"], conditions: Conditions
    ) -> Float[Array, "B T P D"]:
        def apply(x, layer):
            block, keys_values = layer
            return block(x, modulation, conditions, keys_values or block.keys_values(conditions.tokens))

        return scan_blocks(apply, x, (self.blocks, conditions.keys_values), self.execution.remat)

    def end(
        self, x: Float[Array, "B T P D"], time: Float[Array, "B T D"], shape: tuple[int, ...]
    ) -> Float[Array, "B T H W C"]:
        """Tokens behind the blocks to the velocity of latents of that shape."""
        return unpatchify(self.head(x, time), shape, self.config.patch)

    def modulations(self, timesteps: Float[Array, " n"]) -> Float[Array, "n six_widths"]:
        """What blocks are told of a time, in the dtype in which they compute."""
        time = self.time_embedding(sinusoid(timesteps[None], self.config.freq_dim))
        return self.time_projection(nnx.silu(time))[0].astype(self.execution.dtype)
