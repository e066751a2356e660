"""Trains networks that are no flow, such as the parts of AvatarSync: `loop.train`'s course with losses of their own.

What is drawn for a batch follows from the run's seed and the batch's number, and what chance decides within a step from
the seed and the step: a run that is ended or killed and started again gives the same parameters, bit for bit.
"""

import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import grain
import jax
import numpy as np
from jaxtyping import Array, Float, Key

from actavatar_jax import functional
from actavatar_jax.functional import RUN_ONCE, Network, Params, random_key
from actavatar_jax.parallel import local_rows, make_mesh, place_array, place_batch, replicate, state_shardings
from actavatar_jax.parallel.rules import Rules
from actavatar_jax.training.course import Batch, Course, Visit
from actavatar_jax.training.optimizer import forget_streak, make_optimizer, make_schedule
from actavatar_jax.training.runtime import workdir as work
from actavatar_jax.training.runtime.checkpoint import Checkpoints
from actavatar_jax.training.runtime.guard import StopRequest
from actavatar_jax.training.runtime.metrics import Recorder
from actavatar_jax.training.runtime.watchdog import Watchdog
from actavatar_jax.training.settings import CourseSettings
from actavatar_jax.training.state import TrainState, abstract_state, create_state
from actavatar_jax.training.step import Metrics, compiled, descend

Draw = Callable[[np.random.Generator], Mapping[str, np.ndarray]]


@runtime_checkable
class Loss(Protocol):
    """What a step minimises. Hashable: equal losses are one program."""

    def __call__(
        self, params: Params, frozen: Params, batch: Mapping[str, Array], key: Key[Array, ""]
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """The mean over the batch, and what else is written down of a step."""


def train_part(
    settings: CourseSettings,
    network: Network,
    loss_at: Callable[[int], Loss],
    draw: Draw,
    workdir: Path,
    *,
    described: Mapping[str, Any],
    rules: Rules,
    frozen: Params | None = None,
    start: Params | None = None,
    may_change: Collection[str] = (),
    sample: Visit | None = None,
) -> Params:
    """Trains a network from random weights, from `start` or from the last checkpoint in `workdir` on; its parameters in
    the end, on the host: their running average where there is one.

    Asked to end by SIGTERM, it saves and exits with code 75: start it again.

    Args:
      settings: see there.
      network: what is trained; all of it learns.
      loss_at: the loss after so many steps: a training may have phases.
      draw: a whole batch, all entries with samples first; called with a generator that is the batch's own.
      workdir: gets what `loop.train` leaves there.
      described, may_change: as of `loop.train`.
      rules: how parameters are cut over the mesh.
      frozen: parameters of other networks that the loss looks through.
      start: where the training begins, None: at random weights of its seed; the same for a run that goes on.
      sample: as of `loop.train`; is given the parameters as they are returned.

    Raises:
      InputError: checkpoints of another run, a work folder in use, a batch that the mesh does not divide.
      FloatingPointError: `settings.bad_steps` steps in a row without a usable gradient.
    """
    mesh, frozen = make_mesh(settings.mesh), frozen or {}
    shapes = functional.abstract(network.module, network.config)
    tx = make_optimizer(
        settings.optim, settings.steps, dict.fromkeys(functional.flatten(shapes), 1.0), settings.explode
    )
    batches, average = Drawn(draw, settings.seed, mesh), settings.optim.ema_decay > 0
    described = {**described, "start": start and functional.digest(start)}
    with (
        work.open_workdir(workdir, described) as log_file,
        Watchdog(settings.stall_minutes, log_file) as watchdog,
        Checkpoints(workdir / "checkpoints", described, may_change) as checkpoints,
        StopRequest() as stop,
        jax.set_mesh(mesh),
    ):
        abstract = abstract_state(shapes, frozen, tx, average, mesh, rules=rules)
        shardings = state_shardings(abstract, mesh, rules)
        restored = checkpoints.restore(abstract, batches)
        if restored:
            placed = jax.tree.map(place_array, frozen, shardings.frozen)
            state = dataclasses.replace(restored, frozen=placed, opt_state=forget_streak(restored.opt_state))
        else:
            state = create_state(start or _drawn(network, settings.seed), frozen, tx, average, mesh, rules=rules)
        watchdog.beat()
        recorder = Recorder(
            workdir,
            settings.log_every,
            settings.steps,
            int(state.step),
            bad_steps=settings.bad_steps,
            writing=jax.process_index() == 0,
        )
        take_step = _take_step(settings, tx, loss_at, shardings, mesh)

        def visit(weights: Params, step: int) -> None:
            sample({name: weights[name] for name in shapes}, step)

        course = Course(
            settings, take_step, batches, recorder, checkpoints, watchdog, stop, None, visit if sample else None
        )
        state = course.run(state, batches)
    return jax.device_get(state.params if state.ema is None else state.ema)


def _take_step(
    settings: CourseSettings, tx: Any, loss_at: Callable[[int], Loss], shardings: TrainState, mesh: Any
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics, float]]:
    """The step with a batch of this process's host; FLOPs are not counted."""
    schedule, key = make_schedule(settings.optim, settings.steps), replicate(random_key(settings.seed), mesh)

    @functools.cache
    def step_of(loss: Loss) -> Callable:
        def step(state: TrainState, batch: Batch, key: Key[Array, ""]) -> tuple[TrainState, Metrics]:
            own = jax.random.fold_in(key, state.step)
            gradients_of = jax.value_and_grad(loss, has_aux=True)
            (value, measured), gradients = gradients_of(state.params, state.frozen, batch, own)
            gradients = jax.lax.with_sharding_constraint(gradients, shardings.params)
            state, metrics = descend(state, gradients, tx, schedule, settings.optim.ema_decay)
            return state, metrics | {"loss": value, "measured": measured}

        return compiled(step, shardings)

    def take_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics, float]:
        return *step_of(loss_at(batch["number"]))(state, place_batch(batch["samples"], mesh), key), 0.0

    return take_step


class Drawn(grain.DatasetIterator):
    """Batch number n, counted from 0, is drawn by a generator of the seed and n: of it this process's samples."""

    def __init__(self, draw: Draw, seed: int, mesh: Any):
        super().__init__()
        self.draw, self.seed, self.mesh, self.number = draw, seed, mesh, 0

    def get_state(self) -> dict[str, int]:
        return {"number": self.number}

    def set_state(self, state: dict[str, int]) -> None:
        self.number = state["number"]

    def __next__(self) -> Batch:
        """`samples`, and the batch's `number`."""
        drawn, number = self.draw(np.random.default_rng([self.seed, self.number])), self.number
        rows = local_rows(self.mesh, len(next(iter(drawn.values()))))
        self.number += 1
        return {"number": number, "samples": {name: entry[rows] for name, entry in drawn.items()}}


def _drawn(network: Network, seed: int) -> Params:
    draw = jax.jit(functional.init, static_argnums=(0, 1), compiler_options=RUN_ONCE)
    # On the host, where no type is weak: else the step is compiled twice, once for what was drawn.
    return jax.device_get(draw(network.module, network.config, random_key(seed)))
