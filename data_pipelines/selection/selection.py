"""Which clips a training stage uses: ordered rules over the table's columns, then the best of each group of copies.

Filters only measure; every threshold is in a rules file, `rules/stage1.yaml` beside this or one of the user's.
"""

from collections.abc import Mapping, Sequence

from actavatar_jax.errors import InputError
from actavatar_jax.storage import Place, open_place
from data_pipelines.selection.failures import PRINTS, STAGES, count_failing, count_unmeasured, find_failures
from data_pipelines.selection.report import SelectionReport
from data_pipelines.selection.ruleset import DEFAULT_RULES, RuleSet
from data_pipelines.table import Table, changed_step, read_manifest, write_step_columns


def select_clips(
    clip_dir: str | Place, stage: int, rules: str | Place | None = None, besides: Sequence[str | Place] = ()
) -> SelectionReport:
    """Adds the columns `stage<N>` (whether the stage uses the clip), `stage<N>.reason` and `.detail` (why not).

    `rules` is a YAML file; default: rules/stage<N>.yaml beside this, which shows the form. The rules of stage 2 build
    on the choice for stage 1. `besides`: clip folders of other corpora, for which the stage has been selected before:
    copies of clips that were chosen there are left out, whatever their ids are.

    Returns the report, also written to `clip_dir/stage<N>.json`, with what each rule leaves out in
    `stage<N>.rules.json`; its notes count the clips that a step could not measure. Raises InputError for a malformed
    rules file, for a column of a hard rule that nothing has made or that clips lack for want of a model, and for
    `besides` without a selection or prints.
    """
    if stage not in STAGES:
        raise InputError(f"stage {stage}: accepted are 1 and 2")
    clip_dir = open_place(clip_dir)
    chosen = RuleSet.load(DEFAULT_RULES / f"stage{stage}.yaml" if rules is None else open_place(rules))
    before = {str(folder): _chosen_before(open_place(folder), stage) for folder in besides}
    if before and not chosen.best_by:
        raise InputError("the rules have no list 'duplicates', so that other corpora are not looked at for copies")
    with changed_step(clip_dir, f"stage{stage}") as table:
        return _selected(table, clip_dir, stage, chosen, before)


def _chosen_before(folder: Place, stage: int) -> Table:
    """The clips of another corpus that are selected."""
    table = read_manifest(folder)
    if missing := [name for name in (f"stage{stage}", *PRINTS) if name not in table.names]:
        raise InputError(
            f"{folder}: no column {missing[0]} to look for copies by; run `filter --steps duplicates` and "
            f"`select --stage {stage}` there first"
        )
    return table.where(table.column(f"stage{stage}"))


def _selected(
    table: Table, clip_dir: Place, stage: int, chosen: RuleSet, before: Mapping[str, Table]
) -> SelectionReport:
    failures = find_failures(chosen, table, before)
    report = SelectionReport(f"selected for stage {stage} in {clip_dir}", notes=dict(count_unmeasured(chosen, table)))
    report.add_rules(count_failing(chosen, table))
    for clip_id, failure in zip(table.column("id"), failures, strict=True):
        report.add(clip_id, *(("skipped", *failure) if failure else ("selected",)))
    name = f"stage{stage}"
    added: dict[str, list] = {name: [failure is None for failure in failures]}
    for place, column in enumerate(("reason", "detail")):
        added[f"{name}.{column}"] = [failure and failure[place] for failure in failures]
    write_step_columns(clip_dir, name, table.column("id"), added)
    report.save(clip_dir / f"{name}.json")
    return report
