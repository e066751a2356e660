"""Sizes of the tokenizers."""

import dataclasses
import typing

from actavatar_jax.checks import Limit, check_fields, each, whole
from actavatar_jax.errors import InputError
from actavatar_jax.models.limits import DEPTH, SIDE, SIDES, SIZE

BITS = whole(1, 18)


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class LFQConfig:
    """Open-MAGVIT2's image tokenizer; the defaults are the one of 2^14 codes and 16 x 16 pixels a token."""

    channels: int = 128
    multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)  # channels of each level, in units of `channels`
    blocks: int = 4  # residual blocks of each level
    bits: int = 14
    groups: int = 32  # of the norms

    LIMITS: typing.ClassVar[dict[str, Limit]] = {
        **dict.fromkeys(("channels", "groups"), SIZE),
        "multipliers": SIDES,
        "blocks": DEPTH,
        "bits": BITS,
    }

    def __post_init__(self):
        check_fields(self, "tokenizer's ", **self.LIMITS)
        if self.channels % self.groups:
            raise InputError(
                f"The tokenizer's channels are {self.channels}; accepted is a multiple of its {self.groups} groups."
            )

    @property
    def stride(self) -> int:
        """Pixels of a token's side."""
        return 2 ** (len(self.multipliers) - 1)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, from fine to coarse."""
        return tuple(self.channels * multiplier for multiplier in self.multipliers)


@typing.no_type_check
@dataclasses.dataclass(frozen=True)
class SmallLFQConfig:
    """A small tokenizer of small pictures of one size, in which everything has its place."""

    widths: tuple[int, ...] = (64, 128)  # at the finer and at the tokens' scale
    patch: int = 4  # pixels a side that become channels first
    tokens: tuple[int, int] = (8, 8)  # rows and columns
    bits: int = 9
    groups: int = 8

    LIMITS: typing.ClassVar[dict[str, Limit]] = {
        "widths": Limit("2 widths above 0", lambda x: len(x) == 2 and all(map(SIZE.holds, x))),
        "patch": SIDE,
        "tokens": each(SIDE, 2),
        "bits": BITS,
        "groups": SIZE,
    }

    def __post_init__(self):
        check_fields(self, "tokenizer's ", **self.LIMITS)
        if any(width % self.groups for width in self.widths):
            raise InputError(
                f"The tokenizer's widths are {self.widths}; accepted are multiples of its {self.groups} groups."
            )

    @property
    def stride(self) -> int:
        """Pixels of a token's side."""
        return 2 * self.patch


@typing.no_type_check
@dataclasses.dataclass(frozen=True)
class PatchTokensConfig:
    """Patches of `patch` pixels a side, each place of `tokens` (rows, columns) with `codes` pictures of its own."""

    patch: int = 8
    tokens: tuple[int, int] = (8, 8)
    codes: int = 512

    LIMITS: typing.ClassVar[dict[str, Limit]] = {"patch": SIDE, "tokens": each(SIDE, 2), "codes": SIZE}

    def __post_init__(self):
        check_fields(self, "tokenizer's ", **self.LIMITS)

    @property
    def stride(self) -> int:
        """Pixels of a token's side."""
        return self.patch
