"""Which clips a training stage uses: ordered rules over the table's columns, then the best of each group of copies.

Filters only measure; every threshold is in a rules file, `rules/stage1.yaml` beside this or one of the user's.
"""

from pathlib import Path

from actavatar_jax.errors import InputError
from data_pipelines.selection.failures import STAGES, count_unmeasured, find_failures
from data_pipelines.selection.ruleset import DEFAULT_RULES, RuleSet
from data_pipelines.table import StepReport, Table, changed_step, write_step_columns


def select_clips(clip_dir: str | Path, stage: int, rules: str | Path | None = None) -> StepReport:
    """Adds the columns `stage<N>` (whether the stage uses the clip), `stage<N>.reason` and `.detail` (why not).

    `rules` is a YAML file; default: rules/stage<N>.yaml beside this, which shows the form. The rules of stage 2 build
    on the choice for stage 1. Returns the report, also written to `clip_dir/stage<N>.json`; its notes count the
    clips that a step could not measure. Raises InputError for a malformed rules file and for a column of a hard rule
    that nothing has made.
    """
    if stage not in STAGES:
        raise InputError(f"stage {stage}: accepted are 1 and 2")
    clip_dir = Path(clip_dir)
    chosen = RuleSet.load(DEFAULT_RULES / f"stage{stage}.yaml" if rules is None else Path(rules))
    with changed_step(clip_dir, f"stage{stage}") as table:
        return _selected(table, clip_dir, stage, chosen)


def _selected(table: Table, clip_dir: Path, stage: int, chosen: RuleSet) -> StepReport:
    failures = find_failures(chosen, table)
    report = StepReport(f"selected for stage {stage} in {clip_dir}", notes=dict(count_unmeasured(chosen, table)))
    for clip_id, failure in zip(table.column("id"), failures, strict=True):
        report.add(clip_id, *(("skipped", *failure) if failure else ("selected",)))
    name = f"stage{stage}"
    added: dict[str, list] = {name: [failure is None for failure in failures]}
    for place, column in enumerate(("reason", "detail")):
        added[f"{name}.{column}"] = [failure and failure[place] for failure in failures]
    write_step_columns(clip_dir, name, table.column("id"), added)
    report.save(clip_dir / f"{name}.json")
    return report
