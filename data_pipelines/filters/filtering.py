"""All filters over a prepared clip folder, one after the other."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actavatar_jax.errors import InputError
from actavatar_jax.storage import Place, open_place
from data_pipelines.filters.registry import make_steps
from data_pipelines.table import (
    TIMEOUT,
    Clip,
    Process,
    Step,
    StepReport,
    Table,
    clip_on_disk,
    join_found,
    run_step,
    shared_manifest,
)


def filter_clips(
    clip_dir: str | Place,
    names: Sequence[str] | None = None,
    models: str | Path | None = None,
    *,
    stage: int | None = None,
    runner: str = "processes",
    workers: int | None = None,
    beam_options: Sequence[str] = (),
    process: Process | None = None,
    timeout: float = TIMEOUT,
    retry: bool = False,
    progress: bool = True,
) -> list[StepReport]:
    """Adds the columns of the filters `names` (default: all), each in `clip_dir/columns/<name>.parquet`; see `FILTERS`.

    Clips that an earlier run measured in the same way are not measured again. stage: measure only clips that `select`
    chose for it. runner, workers, beam_options, process, timeout, retry: as in `run_step`. Returns a report per filter,
    that of all clips also written to `clip_dir/filter-<name>.report.json`. Raises InputError for a folder that was not
    prepared or in which clips are being made, a filter that runs there already, a stage that nothing has been selected
    for, and as `make_steps`, before anything is measured.
    """
    clip_dir = open_place(clip_dir)
    steps = [dataclasses.replace(step, measure=_OnDisk(step.measure)) for step in make_steps(names, models)]
    options = {"runner": runner, "workers": workers, "beam_options": beam_options, "progress": progress}
    options |= {"process": process, "timeout": timeout, "retry": retry}
    with shared_manifest(clip_dir) as table:
        return _filtered(table, clip_dir, steps, stage, options)


@dataclass(frozen=True)
class _OnDisk:
    """A measurement that finds its clip on the disk, wherever the clip folder lies."""

    measure: Callable[[Clip, Path], dict[str, Any]]

    def __call__(self, clip: Clip, clip_dir: Place) -> dict[str, Any]:
        with clip_on_disk(clip, clip_dir) as folder:
            return self.measure(clip, folder)


def _filtered(
    table: Table, clip_dir: Place, steps: Sequence[Step], stage: int | None, options: Mapping[str, Any]
) -> list[StepReport]:
    chosen = f"stage{stage}"
    if stage is not None and chosen not in table.names:
        raise InputError(f"{clip_dir}: no clips have been selected for stage {stage}; run `select --stage {stage}`")
    only = None
    if stage is not None:
        only = {i for i, inside in zip(table.column("id"), table.column(chosen), strict=True) if inside}
    reports = []
    for step in steps:
        report = StepReport(f"{step.name} of {clip_dir}")
        done = run_step(step, table, clip_dir, **options, report=report, only=only)
        if done is not None:
            available = f"{step.name}.available"
            if available in done.names and False in done.column(available):
                report.title += ": not available without a model"
            report.save(clip_dir / f"filter-{step.name}.report.json")
        reports.append(report)
        table = join_found(table, step.name, clip_dir, options["process"])  # later filters read what earlier ones found
    return reports
