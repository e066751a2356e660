"""What happens in selected clips: `clips/<id>.actions.json` beside each, columns `annotate.*`, and a report."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pyarrow as pa
from tqdm import tqdm

from actavatar_jax.chat import ChatClient, ChatPool
from actavatar_jax.prompt import Tokenizer
from actavatar_jax.storage import Place, open_place
from data_pipelines.annotation.clip_annotator import ClipAnnotator, Row, restore_caption
from data_pipelines.annotation.rates import AnnotationReport
from data_pipelines.table import (
    PUT_UP,
    Clip,
    Part,
    Process,
    Skip,
    Table,
    digest,
    known_columns,
    map_unordered,
    shared_manifest,
    write_columns,
)

STEP, SELECTION = "annotate", "stage2"

log = logging.getLogger(__name__)


def annotate_clips(
    clip_dir: str | Place,
    *clients: ChatClient,
    parallel: int = 8,
    tokenizer: Tokenizer | None = None,
    process: Process | None = None,
    progress: bool = True,
) -> AnnotationReport:
    """Has the model describe every clip that is selected for stage 2, `parallel` of them at a time.

    `clients`: of one or several servers of that model, to which clips go in turn. One that falls silent is given up,
    and the others go on.

    Without the column `stage2`, all clips are. What came with a clip, `clips/<id>.json`, stays as it is, and a clip
    that came with actions is not asked about; captions over which earlier versions wrote are put back. Raw answers are
    kept in `clip_dir/answers`, and what they answer is not asked again; the next run asks about clips without an
    answer. `tokenizer`: the text encoder's, to refuse texts that are too long for it. `process`: see `run_step`.

    Returns the report, that of all clips also written to `clip_dir/annotate.json` and, with acceptance rates,
    `annotate.rates.json`. Raises InputError where no server can be asked any more, or one for a wrong setting; what has
    been answered until then is kept.
    """
    annotator = ClipAnnotator(open_place(clip_dir), ChatPool(clients), tokenizer)
    with shared_manifest(clip_dir) as table:
        return _annotated(table, annotator, parallel, process, progress)


def _annotated(
    table: Table, annotator: ClipAnnotator, parallel: int, process: Process | None, progress: bool
) -> AnnotationReport:
    clip_dir = annotator.clip_dir
    if SELECTION in table.names:
        chosen = [i for i, inside in zip(table.column("id"), table.column(SELECTION), strict=True) if inside]
    else:
        chosen = table.column("id")
        log.warning("%s: no column %s, so all %d clips are annotated", clip_dir, SELECTION, len(table))
    model = annotator.servers.server(0).model
    part = Part.of_step(clip_dir, STEP, process, digest(model, *chosen))
    before = _rows(known_columns(STEP, table, clip_dir, ()))
    mine, rows = chosen[part.index :: part.count], {}
    others = [clip_id for clip_id in table.column("id") if clip_id not in set(chosen)]
    lost = _restored(table.of_clips(others[part.index :: part.count]), clip_dir)
    with part.begun() as journal, tqdm(total=len(mine), desc=STEP, unit="clip", disable=not progress) as bar:
        for row in _in_threads(annotator, enumerate(table.of_clips(mine)), parallel):
            rows[row["id"]] = row
            journal.add(row["id"], {name: value for name, value in row.items() if name not in ("id", "asked")})
            bar.update()
            journal.put_up(PUT_UP)
    columns = part.merge(partial(known_columns, STEP, table, clip_dir), partial(write_columns, clip_dir, STEP))
    report = AnnotationReport(f"annotated {clip_dir} with {model}")
    if columns is not None:
        rows = {i: row for i, row in _rows(columns).items() if i in set(chosen)} | rows
    for clip_id in table.column("id"):
        if clip_id not in rows:
            report.add(clip_id, *lost.get(clip_id, ("not selected",)))
            continue
        row = rows[clip_id]
        asked = row.get("asked", row.get("version") != before.get(clip_id, {}).get("version"))
        status = "skipped" if row["error"] else "made" if asked else "kept"
        report.add(clip_id, status, row["error"] or "", row["detail"] or "")
    report.add_rates(rows)
    if columns is not None:
        report.save(clip_dir / "annotate.json")
    return report


def _rows(columns: pa.Table) -> dict[str, Row]:
    """The rows of the step, by id."""
    names = [name.removeprefix(f"{STEP}.") for name in columns.column_names]
    return {row["id"]: row for row in columns.rename_columns(names).to_pylist()}


def _restored(clips: Table, clip_dir: Place) -> dict[str, tuple[str, ...]]:
    """Puts captions back over which earlier versions wrote; the outcomes of clips where they are lost, by id."""
    lost = {}
    for clip in clips:
        try:
            restore_caption(clip, clip_dir)
        except Skip as skip:
            lost[clip.id] = ("skipped", skip.reason, skip.detail)
    return lost


def _in_threads(
    work: Callable[[tuple[int, Clip]], Row], clips: Iterator[tuple[int, Clip]], parallel: int
) -> Iterator[Row]:
    """The rows as they are done. An exception ends it once the clips begun are done with."""
    pool = ThreadPoolExecutor(parallel)
    try:
        yield from map_unordered(pool, work, clips, 2 * parallel)
    finally:
        pool.shutdown(cancel_futures=True)
