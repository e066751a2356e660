"""Corpora made of empty files, and what is read of them."""

import json
from pathlib import Path

from actavatar_jax.errors import InputError
from data_pipelines.corpora import read_corpus
from data_pipelines.table import Table


def touch(*paths: Path) -> None:
    """Readers look at names only."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"video")


def read(kind, src, tmp_path):
    """Clips by id, and the counts of the report on disk, which must add up."""
    table = tmp_path / "tables" / "corpus.parquet"
    report = read_corpus(kind, src, table)
    stored = json.loads(table.with_suffix(".report.json").read_text())
    assert stored["counts"] == report.counts() and stored["total"] == sum(stored["counts"].values())
    clips = {clip.id: clip for clip in Table.read(table)}
    assert stored["counts"].get("made") == len(clips)
    return clips, {label: count for label, count in report.counts().items() if label != "made"}


def told(kind, src, tmp_path) -> dict[str, list[str]]:
    """The sentences of the report by their reasons, also where no clip is left."""
    table = tmp_path / "t.parquet"
    try:
        read_corpus(kind, src, table)
    except InputError as error:
        assert f"no clip of kind {kind} that could be used" in str(error) and not table.exists()
    sentences: dict[str, list[str]] = {}
    for row in json.loads(table.with_suffix(".report.json").read_text())["skipped"]:
        sentences.setdefault(row["reason"], []).append(row["detail"])
    return sentences
