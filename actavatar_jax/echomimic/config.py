"""Sizes of EchoMimicV3's transformer, and what one sample is conditioned on."""

import dataclasses
import typing
from typing import Any, NamedTuple

import jax
from jaxtyping import Array

from actavatar_jax.checks import Limit, check_fields, one_of
from actavatar_jax.errors import InputError
from actavatar_jax.models.avatar import AudioAdapterConfig
from actavatar_jax.models.limits import DEPTH, EPSILON, EVEN_SIZE, SIDE, SIZE

# Whole '/' names of what EchoMimicV3 adds to Wan2.1-Fun-V1.1-1.3B-InP.
AUDIO = r"audio_projection/.*|blocks/audio_attn/.*"


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class EchoMimicConfig:
    """Defaults are the published model; both variants have the same backbone."""

    variant: str = "preview"  # preview: 17 features of 50 Hz per latent frame | flash: tokens of 12 layers at 25 Hz
    width: int = 1536
    heads: int = 12
    head_dim: int = 128
    ffn: int = 8960
    layers: int = 30
    in_channels: int = 36  # noisy latent, mask, latent of what is known
    out_channels: int = 16
    text_dim: int = 4096
    text_len: int = 512
    image_dim: int = 1280
    image_tokens: int = 257
    freq_dim: int = 256
    eps: float = 1e-6
    patch: tuple[int, int, int] = (1, 2, 2)
    audio_dim: int = 768
    audio_layers: int = 12  # this and the next two: flash alone
    audio_hidden: int = 512
    audio_tokens: int = 32

    LIMITS: typing.ClassVar[dict[str, Limit]] = {
        "variant": one_of("preview", "flash"),
        **dict.fromkeys(("width", "heads", "ffn", "in_channels", "out_channels"), SIZE),
        **dict.fromkeys(("text_dim", "text_len", "image_dim", "image_tokens"), SIZE),
        **dict.fromkeys(("audio_dim", "audio_hidden", "audio_tokens"), SIZE),
        **dict.fromkeys(("head_dim", "freq_dim"), EVEN_SIZE),
        **dict.fromkeys(("layers", "audio_layers"), DEPTH),
        "eps": EPSILON,
        "patch": Limit("1, and two sides from 1 to 1024", lambda x: x[0] == 1 and all(map(SIDE.holds, x))),
    }

    def __post_init__(self):
        check_fields(self, "transformer's ", **self.LIMITS)
        if self.in_channels <= self.out_channels:
            raise InputError(
                f"The transformer's in_channels are {self.in_channels}; accepted are more than its out_channels, "
                f"{self.out_channels}, since the rest says what is known."
            )

    @property
    def known_channels(self) -> int:
        """Mask and masked latent."""
        return self.in_channels - self.out_channels

    def tokens(self, grid: tuple[int, int, int]) -> int:
        """Video tokens of a latent (T, H, W)."""
        return grid[0] * (grid[1] // self.patch[1]) * (grid[2] // self.patch[2])

    @property
    def flash_audio(self) -> AudioAdapterConfig:
        """The audio projection of `flash`: MultiTalk's, to tokens of the transformer's width."""
        return AudioAdapterConfig(
            self.audio_layers, self.audio_dim, self.audio_hidden, self.audio_tokens, token_width=self.width
        )


class Sources(NamedTuple):
    """One thing of each of the three conditions that video tokens attend to."""

    text: Any
    image: Any
    audio: Any


@typing.no_type_check  # it may hold `jax.ShapeDtypeStruct`s in their place
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Conditions:
    """What a sample is conditioned on, in the form that the blocks use; the same at every noise level.

    known [B, T, H, W, C] mask and masked latent, rope [2, L, K/2], strengths: text [B, 1], image [B, 1], audio [B, P],
    what the result of each attention is multiplied by, tokens: text [B, S, D], image [B, I, D], audio [B, T, A, D]
    (None once keys and values are there), keys_values: text [layers, 2, B, S, N, K], image [layers, 2, B, I, N, K],
    audio [layers, 2, B, T, A, N, K] (None until `EchoMimicDiT.cache`), window_penalty [B, T, S] of `relay`, or None.
    """

    known: Array
    rope: Array
    strengths: Sources
    tokens: Sources | None
    keys_values: Sources | None = None
    window_penalty: Array | None = None
