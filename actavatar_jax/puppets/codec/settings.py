"""How the codec of the puppets is trained."""

import dataclasses
import typing

from actavatar_jax.checks import NOT_NEGATIVE, POSITIVE, SHARE, check_fields, whole

MOST_NOISE = 0.2  # on true latents, whose variance is about 1


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class Settings:
    """The loss is the mean difference of colours, with weights: 1 everywhere, and more where it matters to the eye."""

    steps: int
    batch: int = 8  # groups in a step
    pool: int = 96  # clips in memory
    learning_rate: float = 2e-3
    warmup: int = 200  # steps to this rate: hurried on, the decoder learns to do without the code
    flat: float = 0.4  # share of the steps until it falls to zero along a cosine
    moved: float = 4.0  # added to the weight of pixels that differ from frame 0,
    mouth: float = 12.0  # around the mouth
    hands: float = 6.0  # and around the hands
    clean_share: float = 0.25  # of the groups; their latents are the true ones with up to MOST_NOISE of noise
    seed: int = 0
    checkpoint_every: int = 200  # steps
    log_every: int = 50

    def __post_init__(self):
        counts = dict.fromkeys(("steps", "batch", "pool", "checkpoint_every", "log_every"), whole(1, 2**31 - 1))
        weights = dict.fromkeys(("moved", "mouth", "hands"), NOT_NEGATIVE)
        shares = dict.fromkeys(("flat", "clean_share"), SHARE)
        rest = {"warmup": whole(0, 2**31 - 1), "learning_rate": POSITIVE, "seed": whole(0, 2**32 - 1)}
        check_fields(self, "setting codec.", **counts, **weights, **shares, **rest)
