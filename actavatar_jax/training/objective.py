"""What a training draws for every sample and asks of its model: the seam between the one step and the systems.

B batch, T latent frames.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
from jaxtyping import Array, Float, Key

from actavatar_jax.diffusion import flow

Batch = Mapping[str, Array]


class Draws(NamedTuple):
    """What chance decides about every sample of a batch; it depends on the run's key and the sample's index alone."""

    times: Float[Array, "B"]  # of the flow, in (0, 1]
    noise: Key[Array, "B"]
    clean: flow.Clean  # latent frames at the begin that get no noise
    strengths: Any = None  # of a system's conditions, where they are drawn too


@runtime_checkable
class Objective(Protocol):
    """A system's part of the training step. Hashable, and the same in every process."""

    @property
    def clean(self) -> int:
        """Latent frames that are clean where nothing is drawn, as on held-out clips."""

    def draw(self, batch: Batch, key: Key[Array, ""]) -> Draws: ...

    def condition(self, model: Any, batch: Batch, draws: Draws | None) -> Any:
        """What the model takes as conditions of a batch; without draws they are whole."""


@dataclasses.dataclass(frozen=True)
class AvatarObjective:
    """ActAvatar's (eq. 6 to 8): videos begin with clean latent frames, and what a sample is told the data decide."""

    time_law: flow.TimeLaw = dataclasses.field(default_factory=flow.TimeLaw)

    @property
    def clean(self) -> int:
        return 1

    def draw(self, batch: Batch, key: Key[Array, ""]) -> Draws:
        keys = jax.vmap(jax.random.split)(flow.sample_keys(key, batch["index"]))
        clean = self.time_law.draw_clean(keys[:, 0], batch["latents"].shape[1])
        return Draws(self.time_law.sample(keys[:, 0]), keys[:, 1], clean)

    def condition(self, model: Any, batch: Batch, draws: Draws | None) -> Any:
        grid = batch["latents"].shape[1:4]
        return model.condition(batch["text"], batch["phase_ids"], batch["phase_windows"], batch["audio"], grid)
