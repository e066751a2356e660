"""MotionCodec: a learned code of what moves, with the VAE's interface; for small worlds on a CPU.

Frame 0 is coded by principal components, as `PatchCodec` does it: a model has to know whom it is to move, and the clean
first frame itself is at hand wherever frames are decoded. Groups of four frames are coded as what has moved since, by
networks that are trained together: a pose is easier to foretell than pixels, and is drawn with edges.
B batch, F video frames, h w pixels, T latent frames, H W latent sides, C channels.
"""

import dataclasses
import typing

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from actavatar_jax.checks import Limit, check_fields, each
from actavatar_jax.errors import InputError
from actavatar_jax.models.limits import SIDE, SIZE
from actavatar_jax.models.motion.decoder import MotionDecoder, MotionDecoderConfig, Scene
from actavatar_jax.models.motion.encoder import MotionEncoder
from actavatar_jax.models.motion.pixels import CELL
from actavatar_jax.models.patch_codec import GROUP, Basis, PatchCodecConfig, decode_first_frame, patches, reduced


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class MotionCodecConfig:
    """Pictures are `places` places of `stride` pixels a side; `widths` are the encoder's, from fine to coarse."""

    channels: int = 32
    places: tuple[int, int] = (4, 4)
    reduce: int = 2  # pictures are averaged down by so much for the code of frame 0
    widths: tuple[int, ...] = (64, 96, 128, 128)
    decoder: MotionDecoderConfig = MotionDecoderConfig()  # noqa: RUF009 - frozen

    LIMITS: typing.ClassVar[dict[str, Limit]] = {
        "channels": SIZE,
        "places": each(SIDE, 2),
        "reduce": SIDE,
        "widths": MotionDecoderConfig.LIMITS["widths"],
    }
    time_factor = GROUP  # frames per latent frame after the first
    sees_first_frame = True

    def __post_init__(self):
        check_fields(self, "MotionCodec's ", **self.LIMITS)
        if self.stride % self.reduce or self.stride % self.decoder.coarsest:
            raise InputError(
                f"MotionCodec's places of {self.stride} pixels a side are no multiple of reduce, {self.reduce}, and of "
                f"the decoder's coarsest cells, {self.decoder.coarsest}."
            )

    @property
    def stride(self) -> int:
        """Pixels of the picture along a side of a latent."""
        return CELL * 2 ** (len(self.widths) - 1)

    @property
    def latent_channels(self) -> int:
        return self.channels

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the pictures that it takes."""
        rows, columns = self.places
        return rows * self.stride, columns * self.stride

    @property
    def first(self) -> PatchCodecConfig:
        """The code of frame 0."""
        return PatchCodecConfig(self.channels, self.places, patch=self.stride // self.reduce, reduce=self.reduce)


class MotionCodec(nnx.Module):
    """Latents after the first are vectors of one length: see `MotionEncoder`."""

    def __init__(self, config: MotionCodecConfig, *, rngs: nnx.Rngs):
        c = self.config = config
        self.first = Basis(c.first.values, c.channels, c.places, rngs=rngs)
        self.encoder = MotionEncoder(c.widths, c.channels, c.places, rngs=rngs)
        spread = c.stride // c.decoder.coarsest
        self.decoder = MotionDecoder(c.decoder, c.channels, c.places, spread, rngs=rngs)

    def encode(self, pixels: Float[Array, "B F h w 3"]) -> Float[Array, "B T H W C"]:
        """Pixels in [-1, 1] -> latents; F = 4k+1, h and w those of `config.size`."""
        frames, *size = pixels.shape[1:4]
        if frames % GROUP != 1 or tuple(size) != self.config.size:
            raise InputError(
                f"MotionCodec got {frames} frames of {size[0]}x{size[1]}; it takes 4k+1 frames of "
                f"{self.config.size[0]}x{self.config.size[1]}."
            )
        first = pixels[:, 0]
        coded = self.first.encode(patches(reduced(pixels[:, :1], self.config.reduce), self.config.first.patch))
        groups = jnp.moveaxis(pixels[:, 1:].reshape(len(pixels), -1, GROUP, *pixels.shape[2:]), 1, 0)
        rest = jax.lax.map(lambda group: self.encoder(group, first), groups)
        return jnp.concatenate([coded, jnp.moveaxis(rest, 0, 1)], axis=1)

    def decode(
        self, latents: Float[Array, "B T H W C"], first: Float[Array, "B h w 3"] | None = None
    ) -> Float[Array, "B F h w 3"]:
        """Latents -> pixels clamped to [-1, 1].

        `first` is the clean first frame, which becomes frame 0 and the ground of the others; None: what the code keeps
        of it.
        """
        scene = self._see(latents, first)
        rest = jnp.moveaxis(jax.vmap(self.draw, in_axes=(None, 1))(scene, latents[:, 1:]), 0, 1)
        return jnp.concatenate([scene.first[:, None], rest.reshape(len(rest), -1, *rest.shape[3:])], axis=1)

    def decode_stream(
        self, latents: Float[Array, "B T H W C"], first: Float[Array, "B h w 3"] | None = None
    ) -> Float[Array, "B F h w 3"]:
        """The same as `decode`, one group of frames after another: memory does not grow with the clip."""
        scene = self._see(latents, first)
        rest = jnp.moveaxis(
            jax.lax.map(lambda group: self.draw(scene, group), jnp.moveaxis(latents[:, 1:], 1, 0)), 0, 1
        )
        return jnp.concatenate([scene.first[:, None], rest.reshape(len(rest), -1, *rest.shape[3:])], axis=1)

    def draw(self, scene: Scene, group: Float[Array, "B H W C"]) -> Float[Array, "B 4 h w 3"]:
        """The four frames of one latent frame of each sample."""
        return jnp.clip(self.decoder.draw(scene, group), -1, 1)

    def strangeness(self, latents: Float[Array, "B T H W C"]) -> Float[Array, "B"]:
        """How far first frames are from those of the clips that their code was fitted on: see `Basis`."""
        return self.first.strangeness(latents[:, :1])

    def _see(self, latents: Float[Array, "B T H W C"], first: Float[Array, "B h w 3"] | None) -> Scene:
        if first is None:
            first = decode_first_frame(self.first, latents, self.config.first)
        return self.decoder.see(jnp.clip(first, -1, 1))
