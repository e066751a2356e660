"""Readers: from a corpus as it is distributed, on disk, to a table of clips. Nothing is downloaded.

A reader yields clips and reports what it leaves out. A layout that it does not know is an InputError that names the
file, the row and the key, since guessing would fill a training set with wrong labels.
"""

import dataclasses
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from actavatar_jax.errors import InputError
from data_pipelines.corpora import folder, hdtf, openhumanvid, speakervid, webdataset
from data_pipelines.table import Clip, Table
from data_pipelines.table.report import Report

Reader = Callable[[Path, Path, Report], Iterable[Clip]]  # (corpus, folder for what is unpacked, report) -> clips

KINDS: dict[str, Reader] = {
    "openhumanvid": openhumanvid.read,
    "speakervid": speakervid.read,
    "hdtf": hdtf.read,
    "folder": folder.read,
    "webdataset": webdataset.read,
}

logger = logging.getLogger(__name__)


def read_corpus(kind: str, src: str | Path, table_path: str | Path) -> Report:
    """Writes the table of the corpus in `src`, and beside it, as `<table>.report.json`, what became of everything.

    Returns the report, which has one outcome per clip, caption without clip, clip without caption and damaged file.
    Raises InputError for an unknown kind or layout, and where there is no clip at all.
    """
    table_path = Path(table_path)
    report = Report(f"{kind} {src} -> {table_path}")
    table = corpus_table(kind, src, report, table_path)
    report.save(table_path.with_suffix(".report.json"))
    if not len(table):
        raise InputError(
            f"{src}: no clip of kind {kind} that could be used; see {table_path.with_suffix('.report.json')}"
        )
    table.write(table_path)
    return report


def corpus_table(kind: str, src: str | Path, report: Report, table_path: Path) -> Table:
    """The table that `read_corpus` writes to `table_path`; the report gets its outcomes."""
    if kind not in KINDS:
        raise InputError(f"corpus kind '{kind}': accepted are {', '.join(KINDS)}")
    src = Path(os.path.abspath(src))
    if not src.exists():
        raise InputError(f"{src}: there is no such file or folder")
    unpacked = Path(os.path.abspath(table_path)).with_suffix(".videos")
    table = Table.of(_unique(KINDS[kind](src, unpacked, report), unpacked.parent, report))
    left_out = {label: count for label, count in report.counts().items() if label != "made"}
    if left_out:
        logger.warning("%s: %d clips; left out: %s", src, len(table), left_out)
    return table


def located(path: Path, folder: Path) -> str:
    """How a table in `folder` names a file: relative where the file lies below, so that both can be moved together."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _unique(clips: Iterable[Clip], folder: Path, report: Report) -> Iterator[Clip]:
    seen = set()
    for clip in clips:
        if clip.id in seen:
            report.add(
                clip.id, "skipped", "duplicate id", f"{clip.source}: the id {clip.id} is taken by an earlier clip"
            )
            continue
        seen.add(clip.id)
        report.add(clip.id, "made")
        yield dataclasses.replace(clip, source=located(Path(clip.source), folder))
