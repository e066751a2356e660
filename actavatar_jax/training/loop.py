"""The training loop: what a training job does, in order."""

import itertools
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import grain
import jax
import optax
from jax.sharding import Mesh
from tqdm import tqdm

from actavatar_jax import functional
from actavatar_jax.diffusion.flow import TimeLaw
from actavatar_jax.functional import Params
from actavatar_jax.models.avatar import ActAvatarDiT, DiTConfig
from actavatar_jax.models.flops import peak_flops, train_flops
from actavatar_jax.parallel.batches import local_rows, place, replicate
from actavatar_jax.parallel.hosts import agreed
from actavatar_jax.parallel.mesh import check_fit, make_mesh
from actavatar_jax.parallel.rules import state_shardings
from actavatar_jax.training.groups import multipliers, partition
from actavatar_jax.training.optimizer import make_optimizer, make_schedule
from actavatar_jax.training.runtime import workdir as work
from actavatar_jax.training.runtime.checkpoint import Checkpoints
from actavatar_jax.training.runtime.guard import UNFINISHED, StopRequest
from actavatar_jax.training.runtime.metrics import Recorder
from actavatar_jax.training.runtime.watchdog import Watchdog
from actavatar_jax.training.state import TrainState, create_state
from actavatar_jax.training.step import Metrics, make_train_step

Visit = Callable[[Params, int], None]  # is given the whole model's parameters and the number of steps done

log = logging.getLogger(__name__)


def train(
    config: Any,
    model_config: DiTConfig,
    open_params: Callable[[], Params],
    batches: grain.DatasetIterator,
    workdir: Path,
    *,
    sample: Visit | None = None,
    finish: Visit | None = None,
) -> TrainState:
    """Trains to `config.steps`, from the last checkpoint in `workdir` if there is one, and returns the final state.

    Every process of a cluster calls it alike. Asked to end by SIGTERM or by the platform, it saves and exits with
    code 75: start it again.

    Args:
      config: settings as `training/settings.py` describes them, durations already in steps (`optimizer.to_steps`).
      model_config: of the transformer; its `dtype` is the precision of the computation.
      open_params: gives the whole transformer in float32, which is taken over. Called once, when it is known that this
        run may use `workdir`: a mistake should not cost the time in which large files are read.
      batches: see `make_train_step`; of this process the samples `parallel.batches.local_rows`. An iterator of grain,
        whose place is stored with each checkpoint.
      workdir: gets `checkpoints/`, `logs/`, `metrics.jsonl`, `goodput.json`, `tensorboard/` and `run.lock`.
      sample: called every `config.sample.every` steps and at the end, to make sample videos.
      finish: called once at the end, to save the model.

    Raises:
      InputError: a mesh or rules that do not fit the model, checkpoints of another run, a work folder in use.
      FloatingPointError: `config.bad_steps` steps in a row without a usable gradient.
    """
    settings, mesh = config.to_dict(), make_mesh(config.mesh)
    speeds = multipliers(functional.abstract(ActAvatarDiT, model_config), config.rules)
    tx = make_optimizer(config.optim, config.steps, speeds, config.explode)
    flops_of = _flops_of(mesh, model_config, config.micro_batches, speeds)
    with (
        work.open_workdir(workdir, settings) as log_file,
        Watchdog(config.stall_minutes, log_file) as watchdog,
        Checkpoints(workdir / "checkpoints", settings, _may_change(config)) as checkpoints,
    ):
        checkpoints.check_settings()
        first = next(batches)
        flops_of(first)  # before memory is spent on a model that the mesh does not fit
        with agreed():
            params = open_params()
        watchdog.beat()
        with StopRequest() as stop, jax.set_mesh(mesh):
            state = create_state(*partition(params, config.rules), tx, config.optim.ema_decay > 0, mesh)
            del params  # at full size 20 GB of the host's memory
            train_step = _train_step(config, model_config, tx, state_shardings(state, mesh))
            key = replicate(jax.random.key(config.seed, impl="threefry2x32"), mesh)

            state = checkpoints.restore(state, batches)
            start, total = int(state.step), config.steps
            upcoming = batches if start else itertools.chain([first], batches)
            recorder = _recorder(config, mesh, workdir, start)
            quiet = jax.process_index() > 0
            bar = tqdm(range(start + 1, total + 1), "training", unit="step", initial=start, total=total, disable=quiet)
            try:
                for step in bar:
                    batch = next(upcoming)
                    flops, batch = flops_of(batch), place(batch, mesh)
                    with jax.transfer_guard("disallow"):  # anything else that moves to the device here is a mistake
                        state, metrics = train_step(state, batch, key)
                    recorder.add(step, metrics, flops)
                    watchdog.beat()
                    bar.set_postfix(loss=f"{recorder.loss:.4f}", refresh=False)
                    stopping = stop.after(step)
                    if stopping or _due(step, config.checkpoint_every, total):
                        recorder.read()
                        checkpoints.save(state, batches)
                        recorder.pause()
                    if stopping:
                        _leave(step, checkpoints.wait())
                    if sample and _due(step, config.sample.every, total):
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


def _train_step(
    config: Any, model_config: DiTConfig, tx: optax.GradientTransformation, shardings: TrainState
) -> Callable[..., tuple[TrainState, Metrics]]:
    """The step that the settings ask for."""
    return make_train_step(
        ActAvatarDiT,
        model_config,
        tx,
        TimeLaw(**config.time_law),
        make_schedule(config.optim, config.steps),
        config.optim.ema_decay,
        micro_batches=config.micro_batches,
        shardings=shardings,
    )


def _flops_of(
    mesh: Mesh, model_config: DiTConfig, micro_batches: int, speeds: Mapping[str, float | None]
) -> Callable[[Mapping[str, Any]], float]:
    """FLOPs of a step, over all devices, from this process's part of its batch; InputError where it cannot be cut."""
    rows = mesh.size // mesh.shape["seq"]
    parts = rows // len(local_rows(mesh, rows))  # of a batch, held by different processes
    frozen_backbone = speeds["blocks/self_attn/query/kernel"] is None

    def flops_of(batch: Mapping[str, Any]) -> float:
        samples, grid = parts * len(batch["index"]), batch["latents"].shape[1:4]
        check_fit(mesh, model_config.heads, batch=samples, grid=grid, micro_batches=micro_batches)
        return float(samples * train_flops(model_config, grid, frozen_backbone))

    return flops_of


def _recorder(config: Any, mesh: Mesh, workdir: Path, start: int) -> Recorder:
    peak = peak_flops(mesh.devices.flat[0].device_kind)
    return Recorder(
        workdir,
        config.log_every,
        config.steps,
        start,
        bad_steps=config.bad_steps,
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


def _may_change(config: Any) -> set[str]:
    """Settings that a resumed run may alter: how it is computed and watched, not what is learnt. A cosine ends where it
    was to end."""
    free = {"log_every", "checkpoint_every", "sample", "bad_steps", "explode", "stall_minutes"}
    free |= {"mesh", "micro_batches", "model.remat", "model.attention", "optim.decay"}
    return free if config.optim.schedule == "cosine" else free | {"steps"}
