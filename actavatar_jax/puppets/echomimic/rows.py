"""What is compared, and the trainings behind it.

The paper's Table 1 leaves one thing out at a time of phase dropout, training on all tasks, and preference steps. Here
the first two are left out of the supervised training, and the last is what `preferred` goes on with, beside `longer`,
which goes on without pairs for as many supervised steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from actavatar_jax.echomimic import TASKS
from actavatar_jax.errors import InputError


@dataclass(frozen=True)
class Row:
    """A training of every seed: `stage` of the config, with `changes` of its settings."""

    label: str
    stage: str = "supervised"
    changes: Mapping[str, Any] = field(default_factory=dict)
    after: str = ""  # the row whose model it goes on from; "": the backbone


FIRST_FRAME_ALONE = {f"echomimic.tasks.{name}": float(name == "first_frame") for name in TASKS}

ROWS = {
    "supervised": Row("phase dropout, all tasks, windows"),
    "no-phase-dropout": Row("without phase dropout", changes={"echomimic.phase_dropout": False}),
    "one-task": Row("first frame as the only task", changes=FIRST_FRAME_ALONE),
    "no-windows": Row("without windows", changes={"echomimic.windows": False}),
    "longer": Row("the first, longer", "longer", after="supervised"),
    "preferred": Row("the first, longer, with preference steps", "preferred", after="supervised"),
}


@dataclass(frozen=True)
class Run:
    """A row with a seed."""

    name: str  # of its row
    seed: int  # of the order of the data, and of all noise

    @property
    def row(self) -> Row:
        return ROWS[self.name]

    @property
    def trained(self) -> "Run":
        """The run that has to be there before this one goes on."""
        return Run(self.row.after or self.name, self.seed)

    def folder(self, workdir: Path) -> Path:
        return workdir / self.name / f"seed-{self.seed}"

    def done(self, workdir: Path) -> bool:
        return (self.folder(workdir) / "scores.json").is_file()


def plan_runs(config: ConfigDict) -> list[Run]:
    """Every run once, a seed at a time, so that the table of an unfinished comparison compares like.

    Raises InputError for a row that there is not, and for fewer seeds than one.
    """
    if unknown := sorted(set(config.rows) - set(ROWS)):
        raise InputError(f"There is no row {unknown[0]}; there are: {', '.join(ROWS)}.")
    if config.seeds < 1:
        raise InputError(f"A comparison with {config.seeds} seeds has no runs; give 1 or more, 2 for intervals.")
    wanted = {name for asked in config.rows for name in (asked, ROWS[asked].after)}
    return [Run(name, seed) for seed in range(1, config.seeds + 1) for name in ROWS if name in wanted]


def settings_of(config: ConfigDict, one: Run) -> ConfigDict:
    """Of the run's training."""
    settings = config[one.row.stage].copy_and_resolve_references()
    settings.update_from_flattened_dict(one.row.changes)
    settings.seed = one.seed
    return settings
