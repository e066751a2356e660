"""Sizes of the interpolator."""

import dataclasses
import typing

from actavatar_jax.checks import Limit, check_fields, one_of, whole
from actavatar_jax.models.limits import EPSILON, SIZE

MERGES = ("exact", "legacy")


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class InterpolatorConfig:
    """VFIMamba's sizes; the defaults are its small model."""

    channels: int = 16  # of the finest stage; each coarser one has twice as many
    depths: tuple[int, ...] = (2, 2, 2, 3, 3)  # convolutions of the first three stages, blocks of the last two
    state: int = 16  # numbers that the scan keeps for each channel
    expansion: int = 2
    # What becomes of the scans along columns: exact puts each value back where it came from; legacy puts it where
    # VFIMamba's code does, which its weights were trained with (it mixes places).
    merge: str = "exact"
    chunk: int = 64  # steps of the scan that are computed at once
    eps: float = 1e-5

    LIMITS: typing.ClassVar[dict[str, Limit]] = {
        **dict.fromkeys(("channels", "state", "expansion", "chunk"), SIZE),
        "channels": Limit("a multiple of 4 from 4 on", lambda x: x >= 4 and x % 4 == 0),
        "depths": Limit("5 whole numbers above 0", lambda x: len(x) == 5 and all(map(whole(1, 64).holds, x))),
        "merge": one_of(*MERGES),
        "eps": EPSILON,
    }

    def __post_init__(self):
        check_fields(self, "interpolator's ", **self.LIMITS)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each stage, from fine to coarse."""
        return tuple(self.channels * 2**stage for stage in range(len(self.depths)))


PUPPET = InterpolatorConfig(channels=8, depths=(2, 2, 2, 1, 1))
