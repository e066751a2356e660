"""Preference steps: of two videos of the same conditions the preferred one is to become likelier than the other.

Diffusion DPO (arXiv 2311.12908) in the form of flow matching, as EchoMimicV3's authors train (arXiv 2507.03905); beta
and how often are ours, since they say neither. How much likelier a video has become is told by how much less its
velocity is missed than by the reference, the model as it was when preferences began.

B pairs, T latent frames, H W latent height and width.
"""

import dataclasses
import typing
from typing import Any

import grain
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from actavatar_jax.checks import POSITIVE, check_fields

REJECTED = "rejected"  # the entry of a batch that makes it one of pairs: latents beside those of the preferred videos


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class PreferenceSettings:
    """InputError for values that are not accepted."""

    beta: float  # how far the model may go from the reference: less is further
    region_weight: float = 1.0  # of what is missed where there are hands and faces; elsewhere it is 1

    def __post_init__(self):
        check_fields(self, "setting preference.", beta=POSITIVE, region_weight=POSITIVE)

    @property
    def regions(self) -> bool:
        """Whether pairs have to say where hands and faces are."""
        return self.region_weight != 1

    def weights(self, regions: Integer[Array, "B T H W"]) -> Float[Array, "B T H W"]:
        """Of regions, 1 where there is one."""
        return 1 + (self.region_weight - 1) * regions.astype(jnp.float32)


def preference_losses(
    missed: Float[Array, "2 B"], missed_before: Float[Array, "2 B"], beta: float
) -> tuple[Float[Array, "B"], Float[Array, "B"]]:
    """Each pair's loss, -log sigmoid(beta / 2 margin), and its margin.

    Args:
      missed: mean squared errors of the velocity, of the preferred and of the rejected videos.
      missed_before: the same of the reference.
    """
    gained = missed_before - missed
    margins = gained[0] - gained[1]
    return jax.nn.softplus(-beta / 2 * margins), margins


class Alternating(grain.DatasetIterator):
    """Batches of single videos, and at every `every`-th place one of pairs."""

    def __init__(self, singles: grain.DatasetIterator, pairs: grain.DatasetIterator, every: int):
        super().__init__()
        self.singles, self.pairs, self.every, self.number = singles, pairs, every, 0

    def __next__(self) -> dict[str, Any]:
        batch = next(self.pairs if self.number % self.every == self.every - 1 else self.singles)
        self.number += 1
        return batch

    def get_state(self) -> dict[str, Any]:
        return {"number": self.number, "singles": self.singles.get_state(), "pairs": self.pairs.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        self.number = state["number"]
        self.singles.set_state(state["singles"])
        self.pairs.set_state(state["pairs"])
