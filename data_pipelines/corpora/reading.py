"""Readers: from a corpus as it is distributed, on disk, to a table of clips. Nothing is downloaded.

A reader yields clips and reports what it leaves out: what is not as the layout says, row by row, since guessing would
fill a training set with wrong labels. Without the lists that a layout is made of it is an InputError.
"""

import dataclasses
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from actavatar_jax.errors import InputError
from actavatar_jax.storage import named, refusal
from data_pipelines.corpora.folder import read_folder
from data_pipelines.corpora.hdtf import read_hdtf
from data_pipelines.corpora.openhumanvid import read_openhumanvid
from data_pipelines.corpora.speakervid import read_speakervid
from data_pipelines.corpora.webdataset import read_webdataset
from data_pipelines.table import Clip, StepReport, Table

Reader = Callable[[Path, Path, StepReport], Iterable[Clip]]  # (corpus, folder for what is unpacked, report) -> clips

READERS: dict[str, Reader] = {
    "openhumanvid": read_openhumanvid,
    "speakervid": read_speakervid,
    "hdtf": read_hdtf,
    "folder": read_folder,
    "webdataset": read_webdataset,
}

logger = logging.getLogger(__name__)


def read_corpus(kind: str, src: str | Path, table_path: str | Path) -> StepReport:
    """Writes the table of the corpus in `src`, and beside it, as `<table>.report.json`, what became of everything.

    Returns the report, which has one outcome per clip, caption without clip, clip without caption and damaged file.
    Raises InputError for an unknown kind or layout, and where there is no clip at all.
    """
    table_path = Path(table_path)
    report = StepReport(f"{kind} {src} -> {table_path}")
    table = build_corpus_table(kind, src, report, table_path)
    report.save(table_path.with_suffix(".report.json"))
    if not len(table):
        first = next((outcome.detail for outcome in report.outcomes if outcome.detail), "")
        saved = table_path.with_suffix(".report.json")
        raise refusal(f"no clip of kind {kind} that could be used in {src}; see {named(saved)}:", [first])
    table.write(table_path)
    return report


def build_corpus_table(kind: str, src: str | Path, report: StepReport, table_path: Path) -> Table:
    """The table that `read_corpus` writes to `table_path`; the report gets its outcomes."""
    if kind not in READERS:
        raise InputError(f"corpus kind '{kind}': accepted are {', '.join(READERS)}")
    src = Path(os.path.abspath(src))
    if not src.exists():
        raise InputError(f"{src}: there is no such file or folder")
    unpacked = Path(os.path.abspath(table_path)).with_suffix(".videos")
    table = Table.from_clips(_unique(READERS[kind](src, unpacked, report), unpacked.parent, report))
    left_out = {label: count for label, count in report.counts().items() if label != "made"}
    if left_out:
        logger.warning("%s: %d clips; left out: %s", src, len(table), left_out)
    return table


def name_source(path: Path, folder: Path) -> str:
    """How a table in `folder` names a file: relative where the file lies below, so that both can be moved together."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _unique(clips: Iterable[Clip], folder: Path, report: StepReport) -> Iterator[Clip]:
    seen = set()
    for clip in clips:
        if clip.id in seen:
            report.add(
                clip.id, "skipped", "duplicate id", f"{clip.source}: the id {clip.id} is taken by an earlier clip"
            )
            continue
        seen.add(clip.id)
        report.add(clip.id, "made")
        yield dataclasses.replace(clip, source=name_source(Path(clip.source), folder))
