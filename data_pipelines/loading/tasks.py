"""What of a video is known in training: one of the tasks whose channels a record holds, drawn for every sample."""

from collections.abc import Mapping
from dataclasses import dataclass

import grain
import numpy as np

from actavatar_jax.echomimic import TRAINED
from actavatar_jax.errors import InputError
from data_pipelines.shards import Record

UNKNOWN = "text_and_audio"  # of which nothing is known, no picture either
FIRST = {TRAINED[0]: 1.0}


@dataclass(frozen=True, eq=False)
class DrawTask(grain.transforms.RandomMap):
    """Puts the channels of one task in the place of those of all; a record without a task leaves its share to others.

    `shares`: how often each of `TRAINED` and `UNKNOWN` is wanted, as parts of their sum. InputError for other names,
    shares below 0, or none above.
    """

    shares: Mapping[str, float]

    def __post_init__(self):
        names = (*TRAINED, UNKNOWN)
        if stray := sorted(self.shares.keys() - {*names}):
            raise InputError(f"There is no task {stray[0]}; accepted are {', '.join(names)}.")
        if min(self.shares.values(), default=0) < 0 or not sum(self.shares.values()) > 0:
            raise InputError(
                f"The tasks' shares are {dict(self.shares)}; accepted are numbers of which one is above 0."
            )

    def random_map(self, element: Record, rng: np.random.Generator) -> Record:
        names = [*(TRAINED[number] for number in element["tasks"]), UNKNOWN]
        shares = np.asarray([self.shares.get(name, 0.0) for name in names], float)
        if not shares.any():
            raise InputError(
                f"clip {element['clip']}: it holds the tasks {', '.join(names)}; wanted are {', '.join(self.shares)}"
            )
        place = rng.choice(len(names), p=shares / shares.sum())
        if names[place] == UNKNOWN:
            known, picture = np.zeros_like(element["known"][0]), np.zeros_like(element["picture"])
        else:
            known, picture = element["known"][place], element["picture"]
        return element | {"known": known, "picture": picture}
