"""Sizes and options of the transformer, and what one sample is conditioned on."""

import dataclasses
import math
import typing

import jax
from jaxtyping import Array

from actavatar_jax.checks import Limit, check_fields, one_of
from actavatar_jax.media.clock import FPS, RATES
from actavatar_jax.models.avatar.audio_adapter import AudioAdapterConfig
from actavatar_jax.models.limits import DEPTH, EPSILON, EVEN_SIZE, SIDE, SIZE
from actavatar_jax.prompt.forms import FORMS

# Parameters that stay in float32 when the others are read in less: those of the layers that compute in it (`ISLAND` and
# the norms of the stream), which diffusers and the original keep in float32 too.
FLOAT32 = (
    r"(time_embedding|time_projection|head|phase_embedding|frame_time|place)/.*|latent_log_variance"
    r"|(.*/)?([a-z]+_)?norm/.*|blocks/(modulation|window_strength)"
)


@typing.runtime_checkable
class WanSizes(typing.Protocol):
    """What the parts that all transformers of Wan share, and their name table, read of a config; `DiTConfig` is one."""

    width: int
    heads: int
    head_dim: int
    ffn: int
    layers: int
    in_channels: int
    out_channels: int
    eps: float
    patch: tuple[int, int, int]


@typing.no_type_check  # it does so itself, in sentences
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
    phase_time: str = "paper"  # of `prompt.forms`: how text knows time
    time_scale: float = 4.0  # of its rotary forms: times are multiplied by it
    latent_rate: float = FPS / 4  # latent frames a second of the videos that the weights were made for
    # Helps that the paper does not have; each but the last starts as the identity.
    frame_time: bool = False  # absolute time added to video tokens, for backbones trained from scratch
    place: bool = False  # absolute row and column likewise, for codes whose bases differ from place to place
    linear_guess: bool = False  # see, and learn only what is missed by, the best linear guess: for small worlds

    LIMITS: typing.ClassVar[dict[str, Limit]] = {
        **dict.fromkeys(("width", "heads", "ffn", "in_channels", "out_channels", "text_dim", "text_len"), SIZE),
        **dict.fromkeys(("head_dim", "freq_dim"), EVEN_SIZE),
        **dict.fromkeys(("layers", "max_phases"), DEPTH),
        "eps": EPSILON,
        "patch": Limit("1, and two sides from 1 to 1024", lambda x: x[0] == 1 and all(map(SIDE.holds, x))),
        "phase_time": one_of(*FORMS),
        "time_scale": Limit("a number from 0 to 1000", lambda x: 0 <= x <= 1000),
        "latent_rate": one_of(*(rate / 4 for rate in RATES)),
    }

    def __post_init__(self):
        check_fields(self, "transformer's ", **self.LIMITS)

    @property
    def rate(self) -> int:
        """Frames a second."""
        return round(4 * self.latent_rate)

    def tokens(self, grid: tuple[int, int, int]) -> int:
        """Video tokens of latents of (T, H, W)."""
        return math.prod(grid) // math.prod(self.patch)


@typing.no_type_check  # it may hold `jax.ShapeDtypeStruct`s in their place
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Conditions:
    """What a sample is conditioned on, in the form that the blocks use; the same at every noise level.

    text [B, S, D] and audio [B, T, A, E] (None once their keys and values are there), rope [2, L, K/2], frame_time
    [T, D] or None, window_penalty [B, T, S] or None, key_turns [B, S, 2, K/2] and query_turns [B, T, 2, K/2] or None,
    text_keys_values [layers, 2, B, S, N, K] and
    audio_keys_values [layers, 2, B, T, A, N, K] (None until `ActAvatarDiT.cache`).
    """

    text: Array | None
    audio: Array | None
    rope: Array
    frame_time: Array | None
    window_penalty: Array | None
    key_turns: Array | None
    query_turns: Array | None
    text_keys_values: Array | None = None
    audio_keys_values: Array | None = None
