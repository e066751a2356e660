"""Sizes of the keyframe transformer, and which units a keyframe sees."""

import dataclasses
import typing

from actavatar_jax.avatarsync.units.table import LEVELS
from actavatar_jax.checks import Limit, check_fields, each, one_of
from actavatar_jax.errors import InputError
from actavatar_jax.models.limits import DEPTH, EPSILON, SIDE, SIZE, VOCABULARY

VISIBLE = ("one_to_one", "limited", "accumulative", "full")


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class KeyframeConfig:
    """The defaults are LlamaGen-B's sizes, for 256 tokens of 2^14 codes."""

    width: int = 768
    heads: int = 12
    layers: int = 12
    ffn: int = 2048
    vocabulary: int = 16384  # codes of the tokenizer
    tokens: tuple[int, int] = (16, 16)  # rows and columns of a frame
    units: int = 64  # ids of units; of words there are 4096
    level: str = "phonemes"  # what a unit is of: phonemes | words
    visible: str = "one_to_one"  # units that a keyframe sees: its own | limited: and the one before | accumulative: and
    # all before | full: all
    zero_condition: bool = False  # keys of units are zero, as LlamaGen's weights have it for their class token
    eps: float = 1e-5

    LIMITS: typing.ClassVar[dict[str, Limit]] = {
        **dict.fromkeys(("width", "heads", "ffn", "units"), SIZE),
        "layers": DEPTH,
        "vocabulary": VOCABULARY,
        "tokens": each(SIDE, 2),
        "level": one_of(*LEVELS),
        "visible": one_of(*VISIBLE),
        "eps": EPSILON,
    }

    def __post_init__(self):
        check_fields(self, "keyframe transformer's ", **self.LIMITS)
        if self.width % (4 * self.heads):
            raise InputError(
                f"The keyframe transformer's width is {self.width}; accepted is a multiple of 4 for each of its "
                f"{self.heads} heads: half of the pairs turn by the row, half by the column."
            )

    @property
    def head_dim(self) -> int:
        """Width of a head."""
        return self.width // self.heads

    @property
    def length(self) -> int:
        """Tokens of a frame."""
        return self.tokens[0] * self.tokens[1]


PRESETS = {
    "puppet_cpu": KeyframeConfig(width=192, heads=3, layers=4, ffn=512, vocabulary=512, tokens=(8, 8)),
    "puppet_gpu": KeyframeConfig(width=384, heads=6, layers=8, ffn=1024, vocabulary=512, tokens=(8, 8)),
    "base": KeyframeConfig(),
    "large": KeyframeConfig(width=1024, heads=16, layers=24, ffn=2816),
}
