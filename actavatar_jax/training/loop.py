"""The training loop: what a training job does, in order."""

import dataclasses
import functools
import itertools
import logging
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import grain
import jax
import optax
from jax.sharding import Mesh
from tqdm import tqdm

from actavatar_jax import functional
from actavatar_jax.functional import Network, Params
from actavatar_jax.functional.kernels import LOW_RANK
from actavatar_jax.models import Execution, peak_flops, self_attention_form, train_flops
from actavatar_jax.models.avatar import DiTConfig
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
from actavatar_jax.training.groups import backbone_is_frozen, multipliers, partition
from actavatar_jax.training.lora import abstract_params, add_low_rank
from actavatar_jax.training.optimizer import make_optimizer, make_schedule
from actavatar_jax.training.runtime import workdir as work
from actavatar_jax.training.runtime.checkpoint import Checkpoints
from actavatar_jax.training.runtime.guard import UNFINISHED, StopRequest
from actavatar_jax.training.runtime.metrics import Recorder
from actavatar_jax.training.runtime.watchdog import Watchdog
from actavatar_jax.training.settings import TrainingSettings
from actavatar_jax.training.state import TrainState, abstract_state, create_state
from actavatar_jax.training.step import Metrics, make_train_step

Visit = Callable[[Params, int], None]  # is given the whole model's parameters and the number of steps done

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
    sample: Visit | None = None,
    finish: Visit | None = None,
) -> TrainState:
    """Trains to `settings.steps`, from the last checkpoint in `workdir` if there is one, and returns the final state.

    Every process of a cluster calls it alike. Asked to end by SIGTERM or by the platform, it saves and exits with
    code 75: start it again.

    Args:
      settings: see there.
      network: the transformer, and how it is computed.
      open_params: (names, where each goes) -> those parameters of the transformer by name, in float32; they are taken
        over. Called once, when it is known that this run may use `workdir` and what a checkpoint holds: a mistake
        should not cost the time in which large files are read.
      batches: see `make_train_step`; of this process the samples `parallel.batches.local_rows`. An iterator of grain,
        whose place is stored with each checkpoint.
      workdir: gets `checkpoints/`, `logs/`, `metrics.jsonl`, `goodput.json`, `tensorboard/` and `run.lock`.
      described: the run's whole config, as JSON has it: the same in every process, and stored with each checkpoint. A
        run that goes on must have the same, but for the names and sections of `may_change`.
      sample: called every `settings.sample_every` steps and at the end, to make sample videos.
      finish: called once at the end, to save the model.

    Raises:
      InputError: a mesh or rules that do not fit the model, checkpoints of another run, a work folder in use.
      FloatingPointError: `settings.bad_steps` steps in a row without a usable gradient.
    """
    mesh = make_mesh(settings.mesh)
    extend = functools.partial(add_low_rank, settings=settings.lora, seed=settings.seed)
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
            abstract = abstract_state(*partition(shapes, settings.rules), tx, settings.optim.ema_decay > 0, mesh)
            state = checkpoints.restore(abstract, batches)
            state = _filled(state or abstract, open_params, extend, tx, mesh)
            watchdog.beat()
            train_step = _train_step(settings, network, tx, state_shardings(state, mesh))
            key = replicate(jax.random.key(settings.seed, impl="threefry2x32"), mesh)

            start, total = int(state.step), settings.steps
            upcoming = batches if start else itertools.chain([first], batches)
            recorder = _recorder(settings, mesh, workdir, start)
            quiet = jax.process_index() > 0
            bar = tqdm(range(start + 1, total + 1), "training", unit="step", initial=start, total=total, disable=quiet)
            try:
                for step in bar:
                    batch = next(upcoming)
                    flops, batch = flops_of(batch), place_batch(batch, mesh)
                    with jax.transfer_guard("disallow"):  # anything else that moves to the device here is a mistake
                        state, metrics = train_step(state, batch, key)
                    recorder.add(step, metrics, flops)
                    watchdog.beat()
                    bar.set_postfix(loss=f"{recorder.loss:.4f}", refresh=False)
                    stopping = stop.after(step)
                    if stopping or _due(step, settings.checkpoint_every, total):
                        recorder.read()
                        checkpoints.save(state, batches)
                        recorder.pause()
                    if stopping:
                        _leave(step, checkpoints.wait())
                    if sample and _due(step, settings.sample_every, total):
                        with watchdog.paused():
                            sample(state.weights, step)
                        recorder.pause()
                recorder.read()
            except FloatingPointError:
                checkpoints.save(state, batches)  # skipped steps have not touched it: the last good state
                raise
    if finish:
        finish(state.weights, total)
    return state


def _filled(
    state: TrainState, open_params: Callable, extend: Callable[[Params], Params], tx: optax.GradientTransformation, mesh
) -> TrainState:
    """The state with arrays for what is abstract in it: after a restart its frozen half, at the start all."""
    absent = {
        name: leaf.sharding
        for half in (state.params, state.frozen)
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
        return dataclasses.replace(state, frozen=frozen)
    trained = functional.unflatten({name: params[name] for name in functional.flatten(state.params)})
    return create_state(trained, frozen, tx, state.ema is not None, mesh)


def _train_step(
    settings: TrainingSettings, network: Network, tx: optax.GradientTransformation, shardings: TrainState
) -> Callable[..., tuple[TrainState, Metrics]]:
    """The step that the settings ask for."""
    return make_train_step(
        network,
        tx,
        settings.time_law,
        make_schedule(settings.optim, settings.steps),
        settings.optim.ema_decay,
        micro_batches=settings.micro_batches,
        shardings=shardings,
    )


def _flops_of(
    mesh: Mesh, model_config: DiTConfig, micro_batches: int, speeds: Mapping[str, float | None]
) -> Callable[[Mapping[str, Any]], float]:
    """FLOPs of a step, over all devices, from this process's part of its batch; InputError where it cannot be cut."""
    frozen_backbone = backbone_is_frozen(speeds)

    def flops_of(batch: Mapping[str, Any]) -> float:
        samples, grid = _samples(mesh, batch), batch["latents"].shape[1:4]
        check_fit(mesh, model_config.heads, batch=samples, grid=grid, micro_batches=micro_batches)
        return float(samples * train_flops(model_config, grid, frozen_backbone))

    return flops_of


def _samples(mesh: Mesh, batch: Mapping[str, Any]) -> int:
    """Of a step, over all processes, each of which holds a part of its batch."""
    rows = mesh.size // mesh.shape["seq"]
    return rows // len(local_rows(mesh, rows)) * len(batch["index"])


def _report_attention(network: Network, mesh: Mesh, batch: Mapping[str, Any], micro_batches: int) -> None:
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


def _leave(step: int, saved: bool) -> None:
    if not saved:
        log.error("Asked to end at step %d, but its state could not be saved.", step)
        raise SystemExit(1)
    log.warning(
        "Asked to end: the state of step %d is saved, and the run goes on there when it is started again.", step
    )
    raise SystemExit(UNFINISHED)


def _due(step: int, every: int, total: int) -> bool:
    """Every `every` steps and at the end; 0 is never."""
    return every > 0 and (step % every == 0 or step == total)
