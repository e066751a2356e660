"""What a run writes down about itself: `metrics.jsonl` and TensorBoard events, one record per window of steps."""

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tensorboardX import SummaryWriter

Record = dict[str, float | int]


class Recorder:
    """Averages the metrics of `every` steps and writes them out.

    The metrics of a step are read when the next step has been dispatched, so the device never waits for the host,
    and the host is never more than one step ahead. A loss or gradient that is not finite ends the run there.
    """

    def __init__(self, folder: Path, every: int, total: int, resumed_at: int):
        folder.mkdir(parents=True, exist_ok=True)
        self.writers: list[Callable[[Record], None]] = [
            JsonLines(folder / "metrics.jsonl", resumed_at),
            TensorBoard(folder / "tensorboard", resumed_at),
        ]
        self.every, self.total = every, total
        self.pending: tuple[int, Any] | None = None
        self.window: list[dict[str, np.ndarray]] = []
        self.window_start = time.monotonic()
        self.loss = math.nan  # of the last step that was read

    def add(self, step: int, metrics: Any) -> None:
        """Takes the metrics of step `step`, just dispatched, and reads those of the step before."""
        self.read()
        self.pending = (step, metrics)

    def read(self) -> None:
        """Reads the step that is still pending; waits for it. Raises FloatingPointError where it is not finite."""
        if self.pending is None:
            return
        (step, metrics), self.pending = self.pending, None
        metrics = jax.device_get(metrics)
        self.loss = float(metrics["loss"])
        for name in ("loss", "grad_norm"):
            if not np.isfinite(metrics[name]):
                raise FloatingPointError(
                    f"{name} is {metrics[name]} at step {step}: the run has diverged and stops; earlier checkpoints "
                    "are sound. Lower optim.learning_rate, or look at the data of that step."
                )
        self.window.append(metrics)
        if step % self.every == 0 or step == self.total:
            self._write(step)

    def _write(self, step: int) -> None:
        now = time.monotonic()
        rate = len(self.window) / max(now - self.window_start, 1e-9)
        record = {"step": step, **summarise(self.window)}
        record |= {"steps_per_second": rate, "seconds_left": (self.total - step) / rate}
        for write in self.writers:
            write(record)
        self.window, self.window_start = [], now


def summarise(window: list[dict[str, np.ndarray]]) -> Record:
    """One record of several steps: means; the latest learning rate and weight norm; the loss per noise level."""
    record: Record = {name: float(np.mean([m[name] for m in window])) for name in ("loss", "grad_norm")}
    record |= {name: float(window[-1][name]) for name in ("param_norm", "learning_rate")}
    sums, counts = (np.sum([m[name] for m in window], axis=0) for name in ("noise_loss_sum", "noise_count"))
    for i, (total, count) in enumerate(zip(sums, counts, strict=True)):
        if count:
            record[f"loss_at_noise/{i / len(sums):.1f}-{(i + 1) / len(sums):.1f}"] = float(total / count)
    return record


class JsonLines:
    """Appends one JSON object per line; a resumed run first drops what an interrupted one wrote beyond `resumed_at`."""

    def __init__(self, path: Path, resumed_at: int):
        self.path = path
        if path.exists():
            lines = [line for line in path.read_text().splitlines() if _step_of(line) <= resumed_at]
            temporary = path.with_suffix(".tmp")
            temporary.write_text("".join(line + "\n" for line in lines))
            os.replace(temporary, path)

    def __call__(self, record: Record) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")


class TensorBoard:
    """Scalars as TensorBoard events."""

    def __init__(self, folder: Path, resumed_at: int):
        self.writer = SummaryWriter(str(folder), purge_step=resumed_at + 1)

    def __call__(self, record: Record) -> None:
        for name, value in record.items():
            if name != "step":
                self.writer.add_scalar(name, value, record["step"])
        self.writer.flush()


def _step_of(line: str) -> int | float:
    """The step of a written record; infinity for a line that was cut off."""
    try:
        return json.loads(line)["step"]
    except json.JSONDecodeError:
        return math.inf
