"""The runs of an ablation: a row with a seed each, and the settings of the trainings behind it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from ml_collections import ConfigDict

from actavatar_jax.errors import InputError
from actavatar_jax.puppets.ablation.rows import GROUPS, ROWS, Row
from actavatar_jax.runs.resolve import to_steps


@runtime_checkable
class Trained(Protocol):
    """What is shared among processes: runs of which some score or go on from what others trained."""

    @property
    def trained(self) -> Any: ...


AnyRun = TypeVar("AnyRun", bound=Trained)


@dataclass(frozen=True)
class Run:
    """A row with a seed."""

    name: str  # of its row
    seed: int  # of a fresh adapter, the order of the data, and all noise

    @property
    def row(self) -> Row:
        return ROWS[self.name]

    @property
    def trained(self) -> "Run":
        """The run whose model is scored."""
        return Run(self.row.model_of or self.name, self.seed)

    def folder(self, workdir: Path) -> Path:
        return workdir / self.name / f"seed-{self.seed}"

    def done(self, workdir: Path) -> bool:
        return (self.folder(workdir) / "scores.json").is_file()


def plan_runs(config: ConfigDict) -> list[Run]:
    """Every run of the groups once, a seed at a time, so that the table of an unfinished ablation compares like."""
    if unknown := sorted(set(config.groups) - set(GROUPS)):
        raise InputError(f"There is no group {', '.join(unknown)} in the ablation; there are: {', '.join(GROUPS)}.")
    if config.seeds < 1:
        raise InputError(f"An ablation with {config.seeds} seeds has no runs; give 1 or more, 2 for intervals.")
    names = [name for group in config.groups for name in rows_of(config, group).values()]
    names = [name for wanted in names for name in (ROWS[wanted].model_of, wanted) if name]
    return [Run(name, seed) for seed in range(1, config.seeds + 1) for name in dict.fromkeys(names)]


def read_part(text: str) -> tuple[int, int]:
    """(2, 3) of "2/3": which of how many processes shares the runs; InputError for what is none."""
    number, _, parts = text.partition("/")
    if not (number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts)):
        raise InputError(f"The part is {text!r}; accepted is NUMBER/PARTS, counted from 1, such as 2/3.")
    return int(number), int(parts)


def part_of(runs: list[AnyRun], number: int, parts: int) -> list[AnyRun]:
    """The runs for process `number` of 1 to `parts`; those that score one model stay together."""
    if not 1 <= number <= parts:
        raise InputError(f"There is no part {number} of {parts}; parts are counted from 1.")
    trained = list(dict.fromkeys(one.trained for one in runs))
    return [one for one in runs if trained.index(one.trained) % parts == number - 1]


def rows_of(config: ConfigDict, group: str) -> dict[str, str]:
    """label -> row, without the rows for more phases than the clips of a short world have."""
    return {label: name for label, name in GROUPS[group].items() if (ROWS[name].cues or 1) <= config.most_phases}


def stages_of(config: ConfigDict, one: Run) -> dict[str, ConfigDict]:
    """The settings of the trainings behind a run, in order."""
    row, config = one.trained.row, config.copy_and_resolve_references()
    changes = {name: value for name, value in row.changes.items() if name.startswith(row.stages)}
    with config.unlocked():
        config.update_from_flattened_dict(changes | {f"{stage}.seed": one.seed for stage in row.stages})
    return {stage: config[stage] for stage in row.stages}


def total_steps(config: ConfigDict, one: Run) -> int:
    """Of all trainings behind a run, from the backbone on."""
    return sum(steps(config, settings) for settings in stages_of(config, one).values())


def steps(config: ConfigDict, settings: ConfigDict) -> int:
    return to_steps(settings.steps, settings.data.batch_size, None if config.fresh else config.clips)
