"""The training loop: what a training job does, in order."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grain
import jax
from tqdm import tqdm

from actavatar_jax.diffusion.flow import TimeLaw
from actavatar_jax.models.dit import ActAvatarDiT, DiTConfig
from actavatar_jax.models.functional import Params
from actavatar_jax.training.checkpoint import Checkpoints
from actavatar_jax.training.metrics import Recorder
from actavatar_jax.training.optimizer import make_optimizer, make_schedule
from actavatar_jax.training.stages import multipliers, partition
from actavatar_jax.training.state import TrainState
from actavatar_jax.training.step import make_train_step

Visit = Callable[[Params, int], None]  # is given the whole model's parameters and the number of steps done


def train(
    config: Any,
    model_config: DiTConfig,
    params: Params,
    batches: grain.DatasetIterator,
    workdir: Path,
    *,
    sample: Visit | None = None,
    finish: Visit | None = None,
) -> TrainState:
    """Trains to `config.steps`, from the last checkpoint in `workdir` if there is one, and returns the final state.

    Args:
      config: settings as `training/settings.py` describes them, durations already in steps (`optimizer.to_steps`).
      model_config: of the transformer; its `dtype` is the precision of the computation.
      params: the whole transformer in float32; taken over, so do not use them afterwards.
      batches: see `make_train_step`; an iterator of grain, whose place is stored with each checkpoint.
      workdir: gets `checkpoints/`, `metrics.jsonl` and `tensorboard/`.
      sample: called every `config.sample.every` steps and at the end, to make sample videos.
      finish: called once at the end, to save the model.

    Raises:
      InputError: rules that do not fit the model, or checkpoints of another run.
      FloatingPointError: loss or gradient is not finite.
    """
    speeds = multipliers(params, config.rules)
    tx = make_optimizer(config.optim, config.steps, speeds)
    schedule = make_schedule(config.optim, config.steps)
    time_law = TimeLaw(**config.time_law)
    train_step = make_train_step(ActAvatarDiT, model_config, tx, time_law, schedule, config.optim.ema_decay)
    state = TrainState.create(*partition(params, config.rules), tx, ema=config.optim.ema_decay > 0)
    key = jax.random.key(config.seed, impl="threefry2x32")

    with Checkpoints(workdir / "checkpoints", config.to_dict(), _may_change(config)) as checkpoints:
        state = checkpoints.restore(state, batches)
        start, total = int(state.step), config.steps
        recorder = Recorder(workdir, config.log_every, total, start)
        bar = tqdm(range(start + 1, total + 1), desc="training", unit="step", initial=start, total=total)
        for step in bar:
            batch = jax.device_put(next(batches))
            with jax.transfer_guard("disallow"):  # anything else that moves to the device here is a mistake
                state, metrics = train_step(state, batch, key)
            recorder.add(step, metrics)
            bar.set_postfix(loss=f"{recorder.loss:.4f}", refresh=False)
            if _due(step, config.checkpoint_every, total):
                recorder.read()  # a diverged state is never stored
                checkpoints.save(state, batches)
            if sample and _due(step, config.sample.every, total):
                sample(state.weights, step)
        recorder.read()
    if finish:
        finish(state.weights, total)
    return state


def _due(step: int, every: int, total: int) -> bool:
    """Every `every` steps and at the end; 0 is never."""
    return every > 0 and (step % every == 0 or step == total)


def _may_change(config: Any) -> set[str]:
    """Settings that a resumed run may alter: they do not touch what is learnt. A cosine ends where it was to end."""
    free = {"log_every", "checkpoint_every", "sample"}
    return free if config.optim.schedule == "cosine" else free | {"steps"}
