"""What is said of a folder of published networks: files by their digests, filters and metrics by opening them."""

import dataclasses
import hashlib
import re
from pathlib import Path

import pytest

from actavatar_jax import published
from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.bench import OPENINGS
from actavatar_jax.published import FILES, PublishedFile
from actavatar_jax.runs.published import check_published
from data_pipelines.filters import MODELS
from tests.commands import actavatar, refused
from tests.data import tiny_models

pytest.importorskip("onnxruntime")
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "corpora.md").read_text()


@pytest.fixture
def models(tmp_path):
    return tiny_models.all_models(tmp_path / "models")


def test_all_files_that_anything_needs_are_known():
    needed = {*MODELS, *(file for files, _ in OPENINGS.values() for file in files)}
    assert needed == set(FILES)


def test_an_empty_folder_lacks_all_and_refuses_nothing(tmp_path):
    report = check_published(tmp_path)
    assert all(remark.words.startswith("missing: ") for remark in report.files.values())
    for remarks in (report.filters, report.metrics):
        assert all(remark.words.startswith("needs ") for remark in remarks.values())
    assert report.metrics["sync"].words == "needs syncnet_v2.model, face.onnx" and not report.refused


def test_models_of_the_right_shapes_are_ready_though_they_are_other_files(models):
    report = check_published(models)
    assert {remark.words for remark in report.filters.values()} == {"ready"}
    assert report.metrics["sync"].words == "ready" and report.metrics["csim"].words == "needs w600k_r50.onnx"
    assert report.files["voice.onnx"].words.startswith("another file than the package silero-vad")
    assert report.files["quality.onnx"].words == "there; no digest is known"


def test_a_file_is_as_published_by_its_digest_or_by_how_it_begins(tmp_path, monkeypatch):
    digest = hashlib.sha256(b"bytes").hexdigest()
    known = {name: PublishedFile("t", "o", "l", sha) for name, sha in {"a": digest, "b": digest[:8], "c": "0"}.items()}
    monkeypatch.setattr(published, "FILES", known)
    for name in known:
        (tmp_path / name).write_bytes(b"bytes")
    told = {name: remark.words for name, remark in published.compare_files(tmp_path).items()}
    assert told == {"a": "as published", "b": "as published", "c": f"another file than o: sha256 {digest}"}


def test_a_damaged_file_is_told_with_all_that_stands_on_it(models, capsys):
    (models / "face.onnx").write_bytes(b"not a model")
    report = check_published(models)
    assert report.refused == ["faces", "sync"] and "face.onnx" in report.filters["faces"].words
    refused(capsys, "refused by faces, sync", "models", "check", models)


def test_the_command_prints_the_table(models, capsys):
    assert actavatar("models", "check", models) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line[0] != " "] == ["files", "filters", "metrics"]
    assert sum(line.split()[-1] == "ready" for line in lines) == 8
    refused(capsys, "is no folder", "models", "check", models / "face.onnx")


def test_no_folder_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"nowhere.* is no folder"):
        check_published(tmp_path / "nowhere")


def test_the_page_tells_of_each_file_what_is_known():
    rows = re.findall(r"^\| `([\w.-]+)` \| (.*?) \| (.*?) \| (.*?) \| (?:`(\w+)`.*|not known) \|$", PAGE, re.M)
    told = {
        name: PublishedFile(title, origin, licence, sha256 or None) for name, title, origin, licence, sha256 in rows
    }
    assert {name: dataclasses.asdict(file) for name, file in told.items()} == {
        name: dataclasses.asdict(file) for name, file in FILES.items()
    }
