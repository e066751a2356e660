"""The Wan2.2 VAE: video to latents at a quarter of the frame rate and a sixteenth of each side, and back.

Everything is causal: latent frame 0 depends on pixel frame 0 alone, latent frame j on pixel frames up to 4j, and a
prefix of the latents decodes to a prefix of the video. Pixels are in [-1, 1]; F = 4 (T - 1) + 1, h = 16 H, w = 16 W.
Original: Wan-Video/Wan2.2 `wan/modules/vae2_2.py`.
"""

import dataclasses
import typing
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from actavatar_jax.checks import POSITIVE, Limit, check_fields, each
from actavatar_jax.errors import InputError
from actavatar_jax.models.execution import Execution
from actavatar_jax.models.limits import DEPTH, FINITE, SIDE, SIDES, SIZE
from actavatar_jax.models.wan_vae import parts
from actavatar_jax.models.wan_vae.parts import Memory
from actavatar_jax.parallel import spread_space

# Statistics of the published VAE's latents, `vae/config.json` of Wan2.2-TI2V-5B.
# fmt: off
WAN22_MEAN = (
    -0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557, -0.1382, 0.0542, 0.2813, 0.0891,
    0.1570, -0.0098, 0.0375, -0.1825, -0.2246, -0.1207, -0.0698, 0.5109, 0.2665, -0.2108, -0.2158, 0.2502,
    -0.2055, -0.0322, 0.1109, 0.1567, -0.0729, 0.0899, -0.2799, -0.1230, -0.0313, -0.1649, 0.0117, 0.0723,
    -0.2839, -0.2083, -0.0520, 0.3748, 0.0152, 0.1957, 0.1433, -0.2944, 0.3573, -0.0548, -0.1681, -0.0667,
)
WAN22_STD = (
    0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.4990, 0.4818, 0.5013, 0.8158, 1.0344, 0.5894, 1.0901,
    0.6885, 0.6165, 0.8454, 0.4978, 0.5759, 0.3523, 0.7135, 0.6804, 0.5833, 1.4146, 0.8986, 0.5659,
    0.7069, 0.5338, 0.4889, 0.4917, 0.4069, 0.4999, 0.6866, 0.4093, 0.5709, 0.6065, 0.6415, 0.4944,
    0.5726, 1.2042, 0.5458, 1.6887, 0.3971, 1.0600, 0.3943, 0.5537, 0.5444, 0.4089, 0.7468, 0.7744,
)
# fmt: on


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class VAEConfig:
    """Sizes of a `WanVAE`; the defaults are the published model."""

    encoder_base: int = 160
    decoder_base: int = 256
    z_dim: int = 48
    multipliers: tuple[int, ...] = (1, 2, 4, 4)  # channels of each encoder stage, in units of the base
    res_blocks: int = 2  # per encoder stage; decoder stages have one more
    temporal_down: tuple[bool, ...] = (False, True, True)  # which of the halvings of the sides also halve time
    patch: int = 2
    latents_mean: tuple[float, ...] = WAN22_MEAN
    latents_std: tuple[float, ...] = WAN22_STD

    sees_first_frame = False  # when it decodes
    LIMITS: typing.ClassVar[dict[str, Limit]] = {
        **dict.fromkeys(("encoder_base", "decoder_base", "z_dim"), SIZE),
        "multipliers": SIDES,
        "res_blocks": DEPTH,
        "patch": SIDE,
        "latents_mean": each(FINITE, 2**17),
        "latents_std": each(POSITIVE, 2**17),
    }

    @property
    def latent_channels(self) -> int:
        """Numbers in a latent."""
        return self.z_dim

    @property
    def stride(self) -> int:
        """Pixels of the picture along a side of a latent."""
        return self.patch * 2 ** len(self.temporal_down)

    def __post_init__(self):
        check_fields(self, "VAE's ", **self.LIMITS)
        if len(self.temporal_down) != len(self.multipliers) - 1:
            raise InputError(
                f"a VAE of {len(self.multipliers)} stages needs {len(self.multipliers) - 1} entries in temporal_down, "
                f"got {len(self.temporal_down)}"
            )
        if (1, *self.multipliers)[-2] != self.multipliers[-1]:
            raise InputError(
                "the last two multipliers of a VAE must be equal, since the last stage adds its input: "
                f"got {self.multipliers}"
            )
        if not len(self.latents_mean) == len(self.latents_std) == self.z_dim:
            raise InputError(
                f"a VAE with z_dim {self.z_dim} needs {self.z_dim} latent means and deviations, "
                f"got {len(self.latents_mean)} and {len(self.latents_std)}"
            )

    @property
    def time_factor(self) -> int:
        """Pixel frames per latent frame after the first."""
        return 2 ** sum(self.temporal_down)

    @property
    def space_factor(self) -> int:
        """Pixels per latent position along each side."""
        return self.patch * 2 ** len(self.temporal_down)


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
            EncoderStage(widths[s], widths[s + 1], config.res_blocks, halvings[s], **kinds)
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
    """Residual blocks and a halving (none if `temporal` is None), with a shortcut around all of it."""

    def __init__(self, in_channels: int, out_channels: int, blocks: int, temporal: bool | None, **kinds):
        widths = [in_channels] + [out_channels] * blocks
        self.blocks = parts.Numbered(parts.ResidualBlock(widths[i], widths[i + 1], **kinds) for i in range(blocks))
        self.factors = (1, 1) if temporal is None else (1 + temporal, 2)
        self.channels = out_channels
        if temporal is not None:
            self.down = parts.Downsample(out_channels, temporal, **kinds)

    def __call__(self, x: Float[Array, "B T H W I"], memory: Memory) -> Float[Array, "B t h w O"]:
        y = x
        for block in self.blocks.in_order():
            y = block(y, memory)
        if hasattr(self, "down"):
            y = self.down(y, memory)
        return y + parts.average_down(x, self.channels, *self.factors)


class Decoder(nnx.Module):
    """Latents of z channels -> patchified pixels."""

    def __init__(self, config: VAEConfig, execution: Execution, *, rngs: nnx.Rngs):
        kinds = {"execution": execution, "rngs": rngs}
        widths = [config.decoder_base * m for m in (config.multipliers[-1], *reversed(config.multipliers))]
        doublings = (*reversed(config.temporal_down), None)
        self.conv_in = parts.CausalConv(config.z_dim, widths[0], (3, 3, 3), **kinds)
        self.middle = parts.Middle(widths[0], **kinds)
        self.stages = parts.Numbered(
            DecoderStage(widths[s], widths[s + 1], config.res_blocks + 1, doublings[s], **kinds)
            for s in range(len(config.multipliers))
        )
        self.norm_out = parts.ChannelNorm(widths[-1])
        self.conv_out = parts.CausalConv(widths[-1], 3 * config.patch**2, (3, 3, 3), **kinds)

    def __call__(self, x: Float[Array, "B T H W I"], memory: Memory) -> Float[Array, "B F h w O"]:
        x = self.middle(self.conv_in(x, memory), memory)
        for stage in self.stages.in_order():
            x = stage(x, memory)
        return self.conv_out(jax.nn.silu(self.norm_out(x)), memory)


class DecoderStage(nnx.Module):
    """Residual blocks and a doubling with a shortcut around both; the last stage (`temporal` None) has neither."""

    def __init__(self, in_channels: int, out_channels: int, blocks: int, temporal: bool | None, **kinds):
        widths = [in_channels] + [out_channels] * blocks
        self.blocks = parts.Numbered(parts.ResidualBlock(widths[i], widths[i + 1], **kinds) for i in range(blocks))
        if temporal is not None:
            self.factors = (1 + temporal, 2)
            self.channels = out_channels
            self.up = parts.Upsample(out_channels, temporal, **kinds)

    def __call__(self, x: Float[Array, "B T H W I"], memory: Memory) -> Float[Array, "B t h w O"]:
        y = x
        for block in self.blocks.in_order():
            y = block(y, memory)
        if hasattr(self, "up"):
            y = self.up(y, memory) + parts.repeat_up(x, self.channels, *self.factors, memory)
        return y


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
