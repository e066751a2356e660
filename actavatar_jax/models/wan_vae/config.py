"""Sizes of the VAEs of Wan."""

import dataclasses
import typing

from actavatar_jax.checks import POSITIVE, Limit, check_fields, each
from actavatar_jax.errors import InputError
from actavatar_jax.models.limits import DEPTH, FINITE, SIDE, SIDES, SIZE

# Statistics of the published VAEs' latents, `vae/config.json` of Wan2.2-TI2V-5B and of Wan2.1.
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
WAN21_MEAN = (
    -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
    0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
)
WAN21_STD = (
    2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
    3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160,
)
# fmt: on


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class VAEConfig:
    """Sizes of a `WanVAE`; the defaults are the published model of Wan2.2."""

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
    residual = True  # stages have shortcuts; where they have none, doubling the sides halves the channels
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
        if self.residual and (1, *self.multipliers)[-2] != self.multipliers[-1]:
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

    @property
    def decoder_widths(self) -> list[tuple[int, int]]:
        """Channels into and out of the residual blocks of each decoder stage."""
        outs = [self.decoder_base * m for m in reversed(self.multipliers)]
        share = 1 if self.residual else 2
        return list(zip([outs[0], *(width // share for width in outs[:-1])], outs, strict=True))


@typing.no_type_check
@dataclasses.dataclass(frozen=True)
class Wan21VAEConfig(VAEConfig):
    """Sizes of a `WanVAE` as Wan2.1 has it; the defaults are the published model."""

    encoder_base: int = 96
    decoder_base: int = 96
    z_dim: int = 16
    patch: int = 1
    latents_mean: tuple[float, ...] = WAN21_MEAN
    latents_std: tuple[float, ...] = WAN21_STD

    residual = False
