"""Prompts for selected clips: `clips/<id>.json` beside each clip, columns `annotate.*` in the table, and a report."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from actavatar_jax.chat import ChatClient
from actavatar_jax.prompt import Tokenizer
from data_pipelines.annotation.clip_annotator import ClipAnnotator, Row
from data_pipelines.annotation.rates import AnnotationReport
from data_pipelines.table import Clip, Table, changed_manifest, map_unordered

SELECTION = "stage2"

log = logging.getLogger(__name__)


def annotate_clips(
    clip_dir: str | Path,
    client: ChatClient,
    *,
    parallel: int = 8,
    tokenizer: Tokenizer | None = None,
    progress: bool = True,
) -> AnnotationReport:
    """Has the model describe every clip that is selected for stage 2, `parallel` of them at a time.

    Without the column `stage2`, all clips are. Prompts that came with the videos are kept. Raw answers are kept in
    `clip_dir/answers`, and what they answer is not asked again; the next run asks about clips without an answer.
    `tokenizer`: the text encoder's, to refuse texts that are too long for it.

    Returns the report, also written to `clip_dir/annotate.json` and, with acceptance rates, `annotate.rates.json`.
    Raises InputError where the server cannot be asked at all; what it has answered until then is kept.
    """
    annotator = ClipAnnotator(Path(clip_dir), client, tokenizer)
    with changed_manifest(clip_dir) as table:
        return _annotated(table, annotator, parallel, progress)


def _annotated(table: Table, annotator: ClipAnnotator, parallel: int, progress: bool) -> AnnotationReport:
    clip_dir = annotator.clip_dir
    selective = SELECTION in table.names
    if not selective:
        log.warning("%s: no column %s, so all %d clips are annotated", clip_dir, SELECTION, len(table))
    report, rows = AnnotationReport(f"annotated {clip_dir} with {annotator.client.server.model}"), {}

    def selected() -> Iterator[Clip]:
        for clip in table:
            if not selective or clip.facts[SELECTION]:
                yield clip
            else:
                report.add(clip.id, "not selected")

    with tqdm(total=len(table), desc="annotate", unit="clip", disable=not progress) as bar:
        for row in _in_threads(annotator, selected(), parallel):
            rows[row.pop("id")] = row
            bar.n = len(report.outcomes) + len(rows)
            bar.refresh()
    for clip_id in sorted(rows):
        row, asked = rows[clip_id], rows[clip_id].pop("asked")
        status = "skipped" if row["error"] else "made" if asked else "kept"
        report.add(clip_id, status, row["error"] or "", row["detail"] or "")
    table.with_step("annotate", rows).write(clip_dir / "manifest.parquet")
    report.add_rates(rows)
    report.save(clip_dir / "annotate.json")
    return report


def _in_threads(work: Callable[[Clip], Row], clips: Iterator[Clip], parallel: int) -> Iterator[Row]:
    """The rows as they are done. An exception ends it once the clips begun are done with."""
    pool = ThreadPoolExecutor(parallel)
    try:
        yield from map_unordered(pool, work, clips, 2 * parallel)
    finally:
        pool.shutdown(cancel_futures=True)
