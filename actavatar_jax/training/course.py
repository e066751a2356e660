"""The course of a run: its steps one after the other, and what comes between them."""

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import grain
import jax
from tqdm import tqdm

from actavatar_jax.functional import Params
from actavatar_jax.training.best import Best
from actavatar_jax.training.runtime.checkpoint import Checkpoints
from actavatar_jax.training.runtime.guard import UNFINISHED, StopRequest
from actavatar_jax.training.runtime.metrics import Record, Recorder
from actavatar_jax.training.runtime.watchdog import Watchdog
from actavatar_jax.training.settings import CourseSettings
from actavatar_jax.training.state import TrainState
from actavatar_jax.training.step import Metrics

Batch = Mapping[str, Any]  # this process's part, on the host
# Is given the whole model's parameters and the number of steps done; gives figures for the metrics, if it has any.
Visit = Callable[[Params, int], Record | None]

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Course:
    """What a run has at hand at every step."""

    settings: CourseSettings
    take_step: Callable[[TrainState, Batch], tuple[TrainState, Metrics, float]]  # the last: its FLOPs
    batches: grain.DatasetIterator  # whose place goes into checkpoints
    recorder: Recorder
    checkpoints: Checkpoints
    watchdog: Watchdog
    stop: StopRequest
    heldout: Callable[[TrainState], dict[str, float]] | None
    sample: Visit | None
    best: Best | None = None

    def run(self, state: TrainState, upcoming: Iterator[Batch]) -> TrainState:
        """The state after the last step; raises as `loop.train` for a run that diverges or is asked to end."""
        try:
            return self._run(state, upcoming)
        except FloatingPointError as error:
            raise FloatingPointError(f"{error} {self._keep_sound()}, or look at the data.") from None

    def _keep_sound(self) -> str:
        """What to do now that the run has diverged."""
        step = self.checkpoints.set_unproven_aside(self.recorder.usable)
        if step is not None and step == self.recorder.usable:
            return f"From the checkpoint of step {step} on no gradient was usable: move it away to start anew"
        kept = "no checkpoint yet" if step is None else f"the checkpoint of step {step}"
        return f"There is {kept}: start it again with a lower optim.learning_rate"

    def _run(self, state: TrainState, upcoming: Iterator[Batch]) -> TrainState:
        settings, unsaved = self.settings, False
        for step in (bar := self._steps(int(state.step))):
            state, metrics, flops = self.take_step(state, next(upcoming))
            self.recorder.add(step, metrics, flops)
            self.watchdog.beat()
            if self.recorder.loss is not None:
                bar.set_postfix(loss=f"{self.recorder.loss:.4f}", refresh=False)
            stopping = self.stop.after(step)
            if self.heldout and not stopping and self._due(step, settings.heldout_every):
                self._measure(state, step)
            if unsaved or stopping or self._due(step, settings.checkpoint_every):
                unsaved = not self._save(state)
            if stopping:
                self._leave(step, unsaved)
            if self.sample and self._due(step, settings.sample_every):
                self._make_samples(state, step)
        self.recorder.read()
        return state

    def _steps(self, done: int) -> tqdm:
        total, quiet = self.settings.steps, jax.process_index() > 0
        return tqdm(range(done + 1, total + 1), "training", unit="step", initial=done, total=total, disable=quiet)

    def _due(self, step: int, every: int) -> bool:
        """Every `every` steps and at the end; 0 is never."""
        return every > 0 and (step % every == 0 or step == self.settings.steps)

    def _measure(self, state: TrainState, step: int) -> None:
        self.recorder.read()
        found = self.heldout(state)
        self.recorder.write({"step": step, **found})
        self._keep_best(found, state, step)
        self.recorder.pause()

    def _save(self, state: TrainState) -> bool:
        """Whether the state could be taken: amid skipped steps it is not, for it may be what made them so."""
        self.recorder.read()
        self.recorder.pause()
        if self.recorder.in_a_row:
            return False
        self.checkpoints.save(state, self.batches)
        return True

    def _make_samples(self, state: TrainState, step: int) -> None:
        with self.watchdog.paused():
            found = self.sample(state.weights, step)
        if found:
            self.recorder.read()
            self.recorder.write({"step": step, **found})
        self._keep_best(found, state, step)
        self.recorder.pause()

    def _keep_best(self, found: Record | None, state: TrainState, step: int) -> None:
        if self.best:
            with self.watchdog.paused():
                self.best.look(found, lambda: state.weights, step)

    def _leave(self, step: int, unsaved: bool) -> None:
        if self.checkpoints.wait() and not unsaved:
            log.warning(
                "Asked to end: the state of step %d is saved, and the run goes on there when it is started again.", step
            )
        else:
            why = "amid skipped steps" if unsaved else "but its state could not be saved"
            log.error("Asked to end at step %d, %s: the run will go on from the checkpoint before.", step, why)
        raise SystemExit(UNFINISHED)
