"""The training loop: what a training job does, in order."""

import dataclasses
import functools
import itertools
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import grain
import jax
import optax
from jax.sharding import Mesh

from actavatar_jax import functional
from actavatar_jax.functional import Network, Params, random_key
from actavatar_jax.functional.kernels import LOW_RANK
from actavatar_jax.models import Execution, forward_flops, peak_flops, self_attention_form, train_flops
from actavatar_jax.parallel import (
    agreed,
    check_fit,
    local_rows,
    make_mesh,
    place_array,
    place_batch,
    replicate,
    state_shardings,
)
from actavatar_jax.training.best import Best
from actavatar_jax.training.course import Batch, Course, Visit
from actavatar_jax.training.groups import backbone_is_frozen, multipliers, partition
from actavatar_jax.training.heldout import HeldOutLoss
from actavatar_jax.training.lora import abstract_params, add_low_rank
from actavatar_jax.training.optimizer import forget_streak, make_optimizer, make_schedule
from actavatar_jax.training.preference import REJECTED
from actavatar_jax.training.runtime import workdir as work
from actavatar_jax.training.runtime.checkpoint import Checkpoints
from actavatar_jax.training.runtime.guard import StopRequest
from actavatar_jax.training.runtime.metrics import Recorder
from actavatar_jax.training.runtime.watchdog import Watchdog
from actavatar_jax.training.settings import TrainingSettings
from actavatar_jax.training.state import TrainState, abstract_state, create_state
from actavatar_jax.training.step import Metrics, make_train_step

log = logging.getLogger(__name__)


def train(
    settings: TrainingSettings,
    network: Network,
    open_params: Callable[[Collection[str], Mapping[str, jax.sharding.Sharding]], dict[str, Any]],
    batches: grain.DatasetIterator,
    workdir: Path,
    *,
    described: Mapping[str, Any],
    may_change: Collection[str] = (),
    heldout: Iterable[Batch] | None = None,
    sample: Visit | None = None,
    best: Best | None = None,
    finish: Visit | None = None,
) -> TrainState:
    """Trains to `settings.steps`, from the last checkpoint in `workdir` if there is one, and returns the final state.

    Every process of a cluster calls it alike. Asked to end by SIGTERM or by the platform, it saves and exits with
    code 75: start it again. A run that diverges keeps the newest checkpoint that is known to be sound; what was saved
    since is renamed to `<step>.diverged` (`runtime.keeping`).

    Args:
      settings: see there.
      network: the transformer, and how it is computed.
      open_params: (names, where each goes) -> those parameters of the transformer by name, in float32; they are taken
        over. Called once, when it is known that this run may use `workdir` and what a checkpoint holds: a mistake
        should not cost the time in which large files are read.
      batches: see `make_train_step`, the first of single videos; of this process the samples
        `parallel.batches.local_rows`. An iterator of grain, whose place is stored with each checkpoint.
      workdir: gets `checkpoints/`, `logs/`, `metrics.jsonl`, `goodput.json`, `tensorboard/` and `run.lock`.
      described: the run's whole config, as JSON has it: the same in every process, and stored with each checkpoint. A
        run that goes on must have the same, but for the names and sections of `may_change`.
      heldout: what the loss is measured on every `settings.heldout_every` steps and at the end, see `HeldOutLoss`.
      sample: called every `settings.sample_every` steps and at the end, to make sample videos; what it finds out about
        them, by name, is written down with the step.
      best: keeps the best model by what held-out clips or sample videos tell.
      finish: called once at the end, to save the model.

    Raises:
      InputError: a mesh or rules that do not fit the model, checkpoints of another run, a work folder in use.
      FloatingPointError: `settings.bad_steps` steps in a row without a usable gradient.
    """
    mesh = make_mesh(settings.mesh)
    shapes = abstract_params(network, settings.lora)
    speeds = multipliers(shapes, settings.rules)
    tx = make_optimizer(settings.optim, settings.steps, speeds, settings.explode)
    flops_of = _flops_of(mesh, network.config, settings.micro_batches, speeds)
    with (
        work.open_workdir(workdir, described) as log_file,
        Watchdog(settings.stall_minutes, log_file) as watchdog,
        Checkpoints(workdir / "checkpoints", described, may_change) as checkpoints,
    ):
        checkpoints.check_settings()
        first = next(batches)
        flops_of(first)  # before memory is spent on a model that the mesh does not fit
        _report_attention(network, mesh, first, settings.micro_batches)
        with StopRequest() as stop, jax.set_mesh(mesh):
            halves, kept = partition(shapes, settings.rules), (settings.optim.ema_decay > 0, mesh)
            abstract = abstract_state(*halves, tx, *kept, reference=settings.preference is not None)
            restored = checkpoints.restore(abstract, batches)
            extend = functools.partial(add_low_rank, settings=settings.lora, seed=settings.seed)
            state = _filled(restored or abstract, open_params, extend, tx, mesh)
            watchdog.beat()
            course = Course(
                settings,
                _take_step(settings, network, tx, state_shardings(state, mesh), mesh, flops_of),
                batches,
                _recorder(settings, mesh, workdir, int(state.step)),
                checkpoints,
                watchdog,
                stop,
                heldout
                and HeldOutLoss(
                    network, settings.objective, heldout, mesh, state_shardings(state, mesh), watchdog.beat
                ),
                sample,
                best,
            )
            state = course.run(state, batches if restored else itertools.chain([first], batches))
    if finish:
        finish(state.weights, settings.steps)
    return state


def _filled(
    state: TrainState, open_params: Callable, extend: Callable[[Params], Params], tx: optax.GradientTransformation, mesh
) -> TrainState:
    """The state with arrays for what is abstract in it: after a restart its frozen half, at the start all."""
    absent = {
        name: leaf.sharding
        for half in (state.params, state.frozen, state.reference or {})
        for name, leaf in functional.flatten(half).items()
        if isinstance(leaf, jax.ShapeDtypeStruct)
    }
    added = {name for name in absent if name.rpartition("/")[2] in LOW_RANK}
    with agreed():
        opened = open_params(absent.keys() - added, absent)
    params = functional.flatten(extend(functional.unflatten(opened))) if added else opened
    frozen = functional.unflatten(
        {name: place_array(params[name], absent[name]) for name in functional.flatten(state.frozen)}
    )
    if isinstance(state.step, jax.Array):
        before = state.reference and functional.unflatten(
            {name: place_array(params[name], absent[name]) for name in functional.flatten(state.reference)}
        )
        return dataclasses.replace(state, frozen=frozen, reference=before, opt_state=forget_streak(state.opt_state))
    trained = functional.unflatten({name: params[name] for name in functional.flatten(state.params)})
    return create_state(trained, frozen, tx, state.ema is not None, mesh, state.reference is not None)


def _take_step(
    settings: TrainingSettings,
    network: Network,
    tx: optax.GradientTransformation,
    shardings: TrainState,
    mesh: Mesh,
    flops_of: Callable[[Batch], float],
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics, float]]:
    """The step that the settings ask for, with a batch of this process's host, and its FLOPs."""
    step = make_train_step(
        network,
        tx,
        settings.objective,
        make_schedule(settings.optim, settings.steps),
        settings.optim.ema_decay,
        micro_batches=settings.micro_batches,
        preference=settings.preference,
        shardings=shardings,
    )
    key = replicate(random_key(settings.seed), mesh)

    def take_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics, float]:
        flops, placed = flops_of(batch), place_batch(batch, mesh)
        with jax.transfer_guard("disallow"):  # anything else that moves to the device here is a mistake
            return *step(state, placed, key), flops

    return take_step


def _flops_of(
    mesh: Mesh, model_config: Any, micro_batches: int, speeds: Mapping[str, float | None]
) -> Callable[[Batch], float]:
    """FLOPs of a step, over all devices, from this process's part of its batch; InputError where it cannot be cut."""
    frozen_backbone = backbone_is_frozen(speeds)

    def flops_of(batch: Batch) -> float:
        samples, grid = _samples(mesh, batch), batch["latents"].shape[1:4]
        check_fit(mesh, model_config.heads, batch=samples, grid=grid, micro_batches=micro_batches)
        if REJECTED not in batch:
            return float(samples * train_flops(model_config, grid, frozen_backbone))
        # Both videos, and both once more through the reference.
        return float(
            2 * samples * (train_flops(model_config, grid, frozen_backbone) + forward_flops(model_config, grid))
        )

    return flops_of


def _samples(mesh: Mesh, batch: Batch) -> int:
    """Of a step, over all processes, each of which holds a part of its batch."""
    rows = mesh.size // mesh.shape["seq"]
    return rows // len(local_rows(mesh, rows)) * len(batch["index"])


def _report_attention(network: Network, mesh: Mesh, batch: Batch, micro_batches: int) -> None:
    c, execution = network.config, network.execution or Execution()
    samples, tokens = _samples(mesh, batch) // micro_batches, c.tokens(batch["latents"].shape[1:4])
    form = self_attention_form(execution, c.heads, c.head_dim, samples=samples, tokens=tokens, mesh=mesh.shape)
    log.info("%d samples at once, of %d tokens each; attention: %s", samples, tokens, form)


def _recorder(settings: TrainingSettings, mesh: Mesh, workdir: Path, start: int) -> Recorder:
    peak = peak_flops(mesh.devices.flat[0].device_kind)
    return Recorder(
        workdir,
        settings.log_every,
        settings.steps,
        start,
        bad_steps=settings.bad_steps,
        peak=peak and peak * mesh.size,
        writing=jax.process_index() == 0,
    )
