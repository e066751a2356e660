"""What training of EchoMimicV3 draws: a noise level, and what a sample is told at it (arXiv 2507.03905, sec. 3).

Its training was not published. The paper says that much noise goes with text alone, less with all three conditions, and
little with one or two of them left out, and that each of the three kinds of steps is as frequent. Where one ends, and
how times lie inside, is ours: by default thirds, and evenly. Beside the noise the model sees what of the video is known
(`tasks`), so that no latent frame is clean.

B batch, T latent frames.
"""

import dataclasses
import typing

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from actavatar_jax.checks import Limit, check_fields
from actavatar_jax.diffusion import flow
from actavatar_jax.echomimic.config import Conditions
from actavatar_jax.echomimic.model import EchoMimicDiT
from actavatar_jax.models.avatar.relay import window_penalty
from actavatar_jax.training.objective import Batch, Draws

FIELDS = ("text", "picture", "audio", "known")  # of a batch
# Strengths of text, picture and speech.
EARLY, MIDDLE = np.float32([1, 0, 0]), np.float32([1, 1, 1])
LATE = np.float32([[0, 1, 1], [1, 0, 1], [1, 1, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]])


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class PhaseDropout:
    """Flow times between which all conditions are told. InputError for values that are not accepted."""

    late: float = 1 / 3  # below: one or two of them are left out
    early: float = 2 / 3  # above: text alone is told

    def __post_init__(self):
        limit = Limit("a number between 0 and 1, late below early", lambda x: 0 < x < 1 and self.late < self.early)
        check_fields(self, "setting echomimic.", late=limit, early=limit)

    def draw_time(self, key: Key[Array, ""]) -> Float[Array, ""]:
        """A time in (0, 1], each of the three kinds as likely as the others."""
        kind, place = jax.random.split(key)
        edges = jnp.asarray([0.0, self.late, self.early, 1.0], jnp.float32)
        chosen = jax.random.randint(kind, (), 0, 3)
        return edges[chosen + 1] - (edges[chosen + 1] - edges[chosen]) * jax.random.uniform(place)

    def draw_strengths(self, time: Float[Array, ""], key: Key[Array, ""]) -> Float[Array, "3"]:
        """What is told at a time: of text, picture and speech 1 or 0."""
        late = jnp.asarray(LATE)[jax.random.randint(key, (), 0, len(LATE))]
        return jnp.where(time > self.early, EARLY, jnp.where(time > self.late, MIDDLE, late))


@dataclasses.dataclass(frozen=True)
class EchoMimicObjective:
    """EchoMimicV3's. Without `dropout` times are those of the law, and what a sample is told the data decide."""

    time_law: flow.TimeLaw = dataclasses.field(default_factory=flow.TimeLaw)
    dropout: PhaseDropout | None = PhaseDropout()
    windows: bool = True  # whether actions are heeded in their windows (`prompt.forms`, relay)

    @property
    def clean(self) -> int:
        return 0

    def draw(self, batch: Batch, key: Key[Array, ""]) -> Draws:
        keys = jax.vmap(lambda own: jax.random.split(own, 3))(flow.sample_keys(key, batch["index"]))
        if self.dropout is None:
            return Draws(self.time_law.sample(keys[:, 0]), keys[:, 1], self.clean)
        times = jax.vmap(self.dropout.draw_time)(keys[:, 0])
        return Draws(times, keys[:, 1], self.clean, jax.vmap(self.dropout.draw_strengths)(times, keys[:, 2]))

    def condition(self, model: EchoMimicDiT, batch: Batch, draws: Draws | None) -> Conditions:
        frames = batch["latents"].shape[1]
        penalty = window_penalty(batch["phase_ids"], batch["phase_windows"], frames) if self.windows else None
        strengths = None if draws is None else draws.strengths
        text, picture, audio, known = (batch[name].astype(jnp.float32) for name in FIELDS)
        heard = audio if model.config.variant == "flash" else audio[:, :, 0]  # of one layer
        return model.condition(text, picture, heard, known, strengths=strengths, window_penalty=penalty)
