"""The best model of a run by one of its figures: it is written whenever that gets better, whatever comes after."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from actavatar_jax.functional import Params
from actavatar_jax.storage import read_json, write_json
from actavatar_jax.training.runtime.metrics import Record

# Figures, and whether more of one is better.
FIGURES = {"heldout/loss": False, "heldout/ema_loss": False, "sample/sync_c": True, "sample/sync_d": False}


@dataclasses.dataclass(frozen=True)
class Best:
    """The best so far, which a run that goes on remembers."""

    figure: str  # of `FIGURES`
    place: Path  # a JSON file: figure, value, step
    save: Callable[[Params, int], None]  # writes the model; all processes call it

    def look(self, found: Record | None, weights: Callable[[], Params], step: int) -> None:
        """Saves the model if it is better by what was found out about it. All processes call this; what the first one
        has found counts."""
        value = (found or {}).get(self.figure)
        if not multihost_utils.broadcast_one_to_all(np.asarray(value is not None and self._improves(value))):
            return
        self.save(weights(), step)
        if jax.process_index() == 0:
            write_json(self.place, {"figure": self.figure, "value": value, "step": step})

    def _improves(self, value: float) -> bool:
        before = read_json(self.place) if self.place.is_file() else {}
        if not np.isfinite(value) or before.get("figure") != self.figure:
            return bool(np.isfinite(value))
        return value > before["value"] if FIGURES[self.figure] else value < before["value"]
