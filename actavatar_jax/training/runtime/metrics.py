"""What a run writes down about itself: `metrics.jsonl` and TensorBoard events, one record per window of steps."""

import dataclasses
import json
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from actavatar_jax.storage import read_json, read_json_lines, write_json, write_text

Record = dict[str, float | int]

log = logging.getLogger(__name__)


class Recorder:
    """Averages the metrics of `every` steps and writes them out, in one process of them all.

    The metrics of a step are read when the next step has been dispatched, so the device never waits for the host,
    and the host is never more than one step ahead. Steps that the optimizer skipped are counted and logged; too many
    of them in a row end the run.
    """

    def __init__(
        self,
        folder: Path,
        every: int,
        total: int,
        resumed_at: int,
        *,
        bad_steps: int = 10,
        peak: float | None = None,
        writing: bool = True,
    ):
        """`bad_steps`: in a row, which end the run; `peak`: FLOP/s of all devices, where known; `writing`: else it
        only watches."""
        self.writers: list[Callable[[Record], None]] = []
        self.goodput = None
        if writing:
            folder.mkdir(parents=True, exist_ok=True)
            self.writers = [
                JsonLines(folder / "metrics.jsonl", resumed_at),
                TensorBoard(folder / "tensorboard", resumed_at),
            ]
            self.goodput = Goodput(folder / "goodput.json", resumed_at)
        self.every, self.total, self.bad_steps, self.peak = every, total, bad_steps, peak
        self.pending: tuple[int, Any] | None = None
        self.window: list[dict[str, np.ndarray]] = []
        self.timed = Timed()
        self.clock: float | None = None  # when the step before was dispatched, if nothing came in between
        self.loss: float | None = None  # of the last good step that was read
        self.in_a_row, self.usable = 0, resumed_at  # bad steps up to the one that was read; the last good one

    def add(self, step: int, metrics: Any, flops: float = 0.0) -> None:
        """Takes the metrics of step `step`, just dispatched, and reads those of the step before.

        `flops` are the step's, over all devices. Raises FloatingPointError after too many bad steps.
        """
        self.read()
        self.pending = (step, metrics)
        now = time.monotonic()
        if self.clock is not None:
            self.timed = Timed(self.timed.steps + 1, self.timed.seconds + now - self.clock, self.timed.flops + flops)
        self.clock = now

    def pause(self) -> None:
        """What comes before the next step is no part of training: a checkpoint, sample videos."""
        self.clock = None

    def read(self) -> None:
        """Reads the step that is still pending; waits for it. Raises as `add`."""
        if self.pending is None:
            return
        (step, metrics), self.pending = self.pending, None
        metrics = jax.device_get(metrics)
        self.window.append(metrics)
        self.in_a_row = int(metrics["skipped"][0])
        if self.in_a_row:
            found = f"loss {metrics['loss']:.4g}, gradient norm {metrics['grad_norm']:.4g}"
            log.warning("Step %d is skipped (%s), %d in a row.", step, found, self.in_a_row)
            if self.in_a_row >= self.bad_steps:
                raise FloatingPointError(
                    f"{self.in_a_row} steps in a row had to be skipped, at step {step} with {found}: the run has "
                    "diverged and stops."
                )
        else:
            self.usable = step
            if not metrics.get("of_pairs"):
                self.loss = float(metrics["loss"])
        if step % self.every == 0 or step == self.total:
            self._close_window(step)

    def write(self, record: Record) -> None:
        """Writes out a record of something else; values that are not finite are logged in its place."""
        if lost := [name for name, value in record.items() if not math.isfinite(value)]:
            log.warning("At step %d not finite, and not recorded: %s.", record["step"], ", ".join(lost))
        for write in self.writers:
            write({name: value for name, value in record.items() if name not in lost})

    def _close_window(self, step: int) -> None:
        record = {"step": step, **summarise(self.window)}
        timed, self.window, self.timed = self.timed, [], Timed()
        if timed.steps:
            rate = timed.steps / max(timed.seconds, 1e-9)
            record |= {"steps_per_second": rate, "seconds_left": (self.total - step) / rate}
            if self.peak:
                record["mfu"] = timed.flops / (timed.seconds * self.peak)
        if self.goodput:
            record["goodput"] = self.goodput.add(step, timed.seconds)
        for write in self.writers:
            write(record)


class Timed(NamedTuple):
    """Steps whose time is known: those with nothing but a step before them."""

    steps: int = 0
    seconds: float = 0.0
    flops: float = 0.0


def summarise(window: list[dict[str, np.ndarray]]) -> Record:
    """One record of several steps: means over good steps, also of what is `measured` beside the loss; the latest
    learning rate and weight norm; skipped steps of the whole run; the loss per noise level where there are some."""
    record: Record = {name: float(window[-1][name]) for name in ("param_norm", "learning_rate")}
    record["skipped"] = int(window[-1]["skipped"][1])
    good = [m for m in window if not m["skipped"][0]]
    if not good:
        return record
    record["grad_norm"] = float(np.mean([m["grad_norm"] for m in good]))
    pairs = [m for m in good if m.get("of_pairs")]
    if pairs:
        record["preference_loss"] = float(np.mean([m["loss"] for m in pairs]))
    good = [m for m in good if not m.get("of_pairs")]
    if not good:
        return record
    record["loss"] = float(np.mean([m["loss"] for m in good]))
    for name in good[-1].get("measured", ()):
        values = [m["measured"][name] for m in good if np.isfinite(m["measured"].get(name, np.nan))]
        record |= {name: float(np.mean(values))} if values else {}
    if "noise_count" not in good[-1]:
        return record
    sums, counts = (np.sum([m[name] for m in good], axis=0) for name in ("noise_loss_sum", "noise_count"))
    for i, (total, count) in enumerate(zip(sums, counts, strict=True)):
        if count:
            record[f"loss_at_noise/{i / len(sums):.1f}-{(i + 1) / len(sums):.1f}"] = float(total / count)
    return record


@dataclasses.dataclass(frozen=True)
class Spent:
    """What the file of a `Goodput` holds."""

    started: float  # by the clock
    seconds: dict[str, float]  # of training up to each recorded step


class Goodput:
    """Share of the time since a run's first start that went into steps whose result was kept.

    Compilation, checkpoints, samples, the time between a kill and the next start, and steps that had to be done again
    are the rest. `path` keeps the first start and, for each step that was recorded, the seconds up to it. A file that
    cannot be read is told of, and not counted.
    """

    def __init__(self, path: Path, resumed_at: int):
        self.path, self.started, self.seconds = path, time.time(), {0: 0.0}
        if path.exists():
            try:
                stored = read_json(path, Spent)
                seconds = {int(step): value for step, value in stored.seconds.items() if int(step) <= resumed_at}
                self.started, self.seconds = stored.started, self.seconds | seconds
            except ValueError as error:
                log.warning("The time of earlier starts is not counted: %s", error)
        self._write()

    def add(self, step: int, seconds: float) -> float:
        """The share, now that `seconds` more were spent in steps up to `step`."""
        self.seconds[step] = self.seconds[max(self.seconds)] + seconds
        self._write()
        return self.seconds[step] / max(time.time() - self.started, 1e-9)

    def _write(self) -> None:
        write_json(self.path, {"started": self.started, "seconds": self.seconds})


class JsonLines:
    """Appends one JSON object per line; a resumed run first drops what an interrupted one wrote beyond `resumed_at`."""

    def __init__(self, path: Path, resumed_at: int):
        self.path = path
        if path.exists():
            read = (record for _, record in read_json_lines(path, finite=False) if isinstance(record, dict))
            kept = [record for record in read if isinstance(at := record.get("step"), int) and at <= resumed_at]
            write_text(path, "".join(json.dumps(record) + "\n" for record in kept))

    def __call__(self, record: Record) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")


class TensorBoard:
    """Scalars as TensorBoard events."""

    def __init__(self, folder: Path, resumed_at: int):
        from tensorboardX import SummaryWriter  # which imports torch where that is installed: two seconds

        self.writer = SummaryWriter(str(folder), purge_step=resumed_at + 1)

    def __call__(self, record: Record) -> None:
        for name, value in record.items():
            if name != "step":
                self.writer.add_scalar(name, value, record["step"])
        self.writer.flush()
