"""Readers: from a corpus as it is distributed, on disk, to a table of clips. Nothing is downloaded.

A reader yields clips and reports what it leaves out: what is not as the layout says, row by row, since guessing would
fill a training set with wrong labels. Without the lists that a layout is made of it is an InputError.
"""

import dataclasses
import functools
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator

from actavatar_jax.errors import InputError
from actavatar_jax.storage import Place, absolute, named, open_place, read_json, refusal
from data_pipelines.corpora.folder import read_folder
from data_pipelines.corpora.hdtf import read_hdtf
from data_pipelines.corpora.openhumanvid import read_openhumanvid
from data_pipelines.corpora.speakervid import read_speakervid
from data_pipelines.corpora.webdataset import read_webdataset
from data_pipelines.table import Clip, Outcome, Part, Process, StepReport, Table, check_process, digest

Reader = Callable[[Place, Place, StepReport], Iterable[Clip]]  # (corpus, folder for what is unpacked, report) -> clips
SharedReader = Callable[[Place, Place, StepReport, Process], Iterable[Clip]]  # the same, of one process's files

LISTS: dict[str, Reader] = {"openhumanvid": read_openhumanvid, "hdtf": read_hdtf, "folder": read_folder}
FILES: dict[str, SharedReader] = {"speakervid": read_speakervid, "webdataset": read_webdataset}

logger = logging.getLogger(__name__)


def read_corpus(kind: str, src: str | Place, table_path: str | Place, process: Process | None = None) -> StepReport:
    """Writes the table of the corpus in `src`, and beside it, as `<table>.report.json`, what became of everything.

    `process` (i, n) reads part i = 0..n-1 of n of the tars or annotations; lists, which all other corpora are, are read
    by the first. The one that ends last puts all together.

    Returns the report, which has one outcome per clip, caption without clip, clip without caption and damaged file.
    Raises InputError for an unknown kind or layout, and where there is no clip at all.
    """
    src, table_path = open_place(src), open_place(table_path)
    index, count = check_process(process)
    report = StepReport(f"{kind} {src} -> {table_path}")
    if count == 1:
        return _save(kind, src, build_corpus_table(kind, src, report, table_path), report, table_path)
    part = Part(table_path.with_suffix(".parts"), index, count, digest(kind, str(absolute(src))))
    with part.begun():
        build_corpus_table(kind, src, report, table_path, (index, count)).write(part.own / "clips.parquet")
        report.save(part.own / "report.json")
    saved = part.merge(
        functools.partial(_put_together, kind, src, table_path), lambda made: _save(kind, src, *made, table_path)
    )
    return report if saved is None else saved[1]


def _put_together(kind: str, src: Place, table_path: Place, folders: list[Place]) -> tuple[Table, StepReport]:
    report = StepReport(f"{kind} {src} -> {table_path}")
    folders = sorted(folders, key=lambda folder: int(folder.name.partition("-")[0]))
    for folder in folders:
        report.outcomes += [Outcome(**row) for row in read_json(folder / "report.json")["skipped"]]
    clips = itertools.chain.from_iterable(Table.read(folder / "clips.parquet") for folder in folders)
    return Table.from_clips(_unique(clips, table_path.parent, report)), report


def _save(kind: str, src: Place, table: Table, report: StepReport, table_path: Place) -> StepReport:
    report.save(table_path.with_suffix(".report.json"))
    if not len(table):
        first = next((outcome.detail for outcome in report.outcomes if outcome.detail), "")
        saved = table_path.with_suffix(".report.json")
        raise refusal(f"no clip of kind {kind} that could be used in {src}; see {named(saved)}:", [first])
    table.write(table_path)
    return report


def build_corpus_table(
    kind: str, src: str | Place, report: StepReport, table_path: Place, process: Process = (0, 1)
) -> Table:
    """The table that `read_corpus` writes to `table_path`; the report gets its outcomes."""
    if kind not in LISTS | FILES:
        raise InputError(f"corpus kind '{kind}': accepted are {', '.join(LISTS | FILES)}")
    src = absolute(open_place(src))
    if not src.exists():
        raise InputError(f"{src}: there is no such file or folder")
    unpacked = absolute(table_path).with_suffix(".videos")
    if kind in FILES:
        clips = FILES[kind](src, unpacked, report, process)
    else:
        clips = LISTS[kind](src, unpacked, report) if process[0] == 0 else ()
    table = Table.from_clips(_unique(clips, unpacked.parent, report))
    left_out = {label: count for label, count in report.counts().items() if label != "made"}
    if left_out:
        logger.warning("%s: %d clips; left out: %s", src, len(table), left_out)
    return table


def name_source(path: Place, folder: Place) -> str:
    """How a table in `folder` names a file: relative where the file lies below, so that both can be moved together."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _unique(clips: Iterable[Clip], folder: Place, report: StepReport) -> Iterator[Clip]:
    seen = set()
    for clip in clips:
        if clip.id in seen:
            report.add(
                clip.id, "skipped", "duplicate id", f"{clip.source}: the id {clip.id} is taken by an earlier clip"
            )
            continue
        seen.add(clip.id)
        report.add(clip.id, "made")
        yield dataclasses.replace(clip, source=name_source(open_place(clip.source), folder))
