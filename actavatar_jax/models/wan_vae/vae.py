"""The VAEs of Wan: video to latents at a quarter of the frame rate and an eighth or sixteenth of each side, and back.

Everything is causal: latent frame 0 depends on pixel frame 0 alone, latent frame j on pixel frames up to 4j, and a
prefix of the latents decodes to a prefix of the video. Pixels are in [-1, 1]; F = 4 (T - 1) + 1, h = 16 H, w = 16 W
(Wan2.1: 8). Originals: `wan/modules/vae2_2.py` of Wan-Video/Wan2.2, `wan/modules/vae.py` of Wan-Video/Wan2.1.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from actavatar_jax.errors import InputError
from actavatar_jax.models.execution import Execution
from actavatar_jax.models.wan_vae import parts
from actavatar_jax.models.wan_vae.config import VAEConfig
from actavatar_jax.models.wan_vae.parts import Memory
from actavatar_jax.parallel import spread_space


class WanVAE(nnx.Module):
    """Encoder and decoder with the latents normalised per channel, as the diffusion model uses them."""

    def __init__(self, config: VAEConfig, execution: Execution = Execution(), *, rngs: nnx.Rngs):  # noqa: B008 - frozen
        z = config.z_dim
        self.config = config
        self.encoder = Encoder(config, execution, rngs=rngs)
        self.quant = nnx.Linear(2 * z, 2 * z, rngs=rngs, **execution.products)
        self.post_quant = nnx.Linear(z, z, rngs=rngs, **execution.products)
        self.decoder = Decoder(config, execution, rngs=rngs)

    def encode(self, pixels: Float[Array, "B F h w 3"]) -> Float[Array, "B T H W C"]:
        """Normalised posterior means of a whole video.

        Raises:
          InputError: the number of frames is not 4k + 1, or a side is no multiple of 16.
        """
        return self._normalise(self.encode_moments(pixels)[0])

    def decode(self, latents: Float[Array, "B T H W C"]) -> Float[Array, "B F h w 3"]:
        """The whole video of normalised latents, clamped to [-1, 1]."""
        return jnp.clip(self.decode_sample(self._denormalise(latents)), -1, 1)

    def encode_stream(self, pixels: Float[Array, "B F h w 3"]) -> Float[Array, "B T H W C"]:
        """`encode` one latent frame at a time: working memory does not grow with the number of frames."""
        self._check(pixels.shape)
        later = pixels[:, 1:].reshape(pixels.shape[0], -1, self.config.time_factor, *pixels.shape[2:])
        moments = _stream(self._encode_chunk, pixels[:, :1], later)
        return self._normalise(jnp.split(moments, 2, axis=-1)[0])

    def decode_stream(self, latents: Float[Array, "B T H W C"]) -> Float[Array, "B F h w 3"]:
        """`decode` one latent frame at a time: working memory does not grow with the number of frames."""
        samples = self._denormalise(latents)
        return jnp.clip(_stream(self._decode_chunk, samples[:, :1], samples[:, 1:, None]), -1, 1)

    def encode_moments(
        self, pixels: Float[Array, "B F h w 3"]
    ) -> tuple[Float[Array, "B T H W C"], Float[Array, "B T H W C"]]:
        """Mean and log-variance of the posterior, not normalised: what training needs.

        Raises:
          InputError: the number of frames is not 4k + 1, or a side is no multiple of 16.
        """
        self._check(pixels.shape)
        mean, log_variance = jnp.split(self._encode_chunk(pixels, Memory(whole=True)), 2, axis=-1)
        return mean, log_variance

    def decode_sample(self, sample: Float[Array, "B T H W C"]) -> Float[Array, "B F h w 3"]:
        """The video of a draw from the posterior, neither de-normalised before nor clamped after: for training."""
        return self._decode_chunk(sample, Memory(whole=True))

    def _encode_chunk(self, pixels: jax.Array, memory: Memory) -> jax.Array:
        return self.quant(self.encoder(parts.patchify(pixels, self.config.patch), memory))

    def _decode_chunk(self, sample: jax.Array, memory: Memory) -> jax.Array:
        x = self.decoder(self.post_quant(spread_space(sample)), memory)
        return parts.unpatchify(spread_space(x), self.config.patch)

    def _normalise(self, mean: jax.Array) -> jax.Array:
        centre, spread = self._statistics(mean)
        return (mean - centre) / spread

    def _denormalise(self, latents: jax.Array) -> jax.Array:
        centre, spread = self._statistics(latents)
        return latents * spread + centre

    def _statistics(self, like: jax.Array) -> tuple[jax.Array, jax.Array]:
        rows = jnp.asarray([self.config.latents_mean, self.config.latents_std], like.dtype)
        centre, spread = rows.reshape(2, *(1,) * (like.ndim - 1), -1)
        return centre, spread

    def _check(self, shape: tuple[int, ...]) -> None:
        _, frames, height, width, _ = shape
        time, space = self.config.time_factor, self.config.space_factor
        if frames % time != 1 % time:
            raise InputError(f"the VAE encodes {time}k + 1 frames, got {frames}")
        if height % space or width % space:
            raise InputError(f"the VAE encodes frames with sides that are multiples of {space}, got {height}x{width}")


class Encoder(nnx.Module):
    """Patchified pixels -> features of 2 z channels."""

    def __init__(self, config: VAEConfig, execution: Execution, *, rngs: nnx.Rngs):
        kinds = {"execution": execution, "rngs": rngs}
        widths = [config.encoder_base * m for m in (1, *config.multipliers)]
        halvings = (*config.temporal_down, None)
        self.conv_in = parts.CausalConv(3 * config.patch**2, widths[0], (3, 3, 3), **kinds)
        self.stages = parts.Numbered(
            EncoderStage(widths[s], widths[s + 1], config.res_blocks, halvings[s], config.residual, **kinds)
            for s in range(len(config.multipliers))
        )
        self.middle = parts.Middle(widths[-1], **kinds)
        self.norm_out = parts.ChannelNorm(widths[-1])
        self.conv_out = parts.CausalConv(widths[-1], 2 * config.z_dim, (3, 3, 3), **kinds)

    def __call__(self, x: Float[Array, "B F h w I"], memory: Memory) -> Float[Array, "B T H W O"]:
        x = self.conv_in(x, memory)
        for stage in self.stages.in_order():
            x = stage(x, memory)
        x = self.middle(x, memory)
        return self.conv_out(jax.nn.silu(self.norm_out(x)), memory)


class EncoderStage(nnx.Module):
    """Residual blocks and a halving (none if `temporal` is None), if `residual` with a shortcut around all of it."""

    def __init__(
        self, in_channels: int, out_channels: int, blocks: int, temporal: bool | None, residual: bool, **kinds
    ):
        widths = [in_channels] + [out_channels] * blocks
        self.blocks = parts.Numbered(parts.ResidualBlock(widths[i], widths[i + 1], **kinds) for i in range(blocks))
        self.factors = (1, 1) if temporal is None else (1 + temporal, 2)
        self.channels, self.residual = out_channels, residual
        if temporal is not None:
            self.down = parts.Downsample(out_channels, temporal, **kinds)

    def __call__(self, x: Float[Array, "B T H W I"], memory: Memory) -> Float[Array, "B t h w O"]:
        y = x
        for block in self.blocks.in_order():
            y = block(y, memory)
        if hasattr(self, "down"):
            y = self.down(y, memory)
        return y + parts.average_down(x, self.channels, *self.factors) if self.residual else y


class Decoder(nnx.Module):
    """Latents of z channels -> patchified pixels."""

    def __init__(self, config: VAEConfig, execution: Execution, *, rngs: nnx.Rngs):
        kinds = {"execution": execution, "rngs": rngs}
        widths = config.decoder_widths
        doublings = (*reversed(config.temporal_down), None)
        self.conv_in = parts.CausalConv(config.z_dim, widths[0][0], (3, 3, 3), **kinds)
        self.middle = parts.Middle(widths[0][0], **kinds)
        self.stages = parts.Numbered(
            DecoderStage(*widths[s], config.res_blocks + 1, doublings[s], config.residual, **kinds)
            for s in range(len(config.multipliers))
        )
        self.norm_out = parts.ChannelNorm(widths[-1][1])
        self.conv_out = parts.CausalConv(widths[-1][1], 3 * config.patch**2, (3, 3, 3), **kinds)

    def __call__(self, x: Float[Array, "B T H W I"], memory: Memory) -> Float[Array, "B F h w O"]:
        x = self.middle(self.conv_in(x, memory), memory)
        for stage in self.stages.in_order():
            x = stage(x, memory)
        return self.conv_out(jax.nn.silu(self.norm_out(x)), memory)


class DecoderStage(nnx.Module):
    """Residual blocks and a doubling, if `residual` with a shortcut around both, else to half the channels; the last
    stage (`temporal` None) has neither."""

    def __init__(
        self, in_channels: int, out_channels: int, blocks: int, temporal: bool | None, residual: bool, **kinds
    ):
        widths = [in_channels] + [out_channels] * blocks
        self.blocks = parts.Numbered(parts.ResidualBlock(widths[i], widths[i + 1], **kinds) for i in range(blocks))
        if temporal is not None:
            self.factors = (1 + temporal, 2)
            self.channels, self.residual = out_channels, residual
            self.up = parts.Upsample(out_channels, out_channels if residual else out_channels // 2, temporal, **kinds)

    def __call__(self, x: Float[Array, "B T H W I"], memory: Memory) -> Float[Array, "B t h w O"]:
        y = x
        for block in self.blocks.in_order():
            y = block(y, memory)
        if not hasattr(self, "up"):
            return y
        y = self.up(y, memory)
        return y + parts.repeat_up(x, self.channels, *self.factors, memory) if self.residual else y


def _stream(step: Callable[[jax.Array, Memory], jax.Array], first: jax.Array, later: jax.Array) -> jax.Array:
    """Runs `step` on the chunk `first` [B, f, ...], then on `later` [B, n, f, ...] in one scan; joins in time.

    The first chunk differs (frame 0 bypasses the layers that change the frame rate); all others are alike.
    """
    memory = Memory()
    head = step(first, memory)

    def body(carry, chunk):
        memory = Memory(carry)
        out = step(chunk, memory)
        return memory.carry, out

    _, tail = jax.lax.scan(body, memory.carry, jnp.moveaxis(later, 1, 0))
    tail = jnp.moveaxis(tail, 0, 1)
    return jnp.concatenate([head, tail.reshape(head.shape[0], -1, *head.shape[2:])], axis=1)
