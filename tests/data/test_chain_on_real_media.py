"""The chain on real clips: pictures at uneven times, a file without sound, models that look at faces, a fresh model."""

import json

import numpy as np
import pytest

from data_pipelines.clips import prepare_clips
from data_pipelines.shards import open_dataset
from data_pipelines.table import read_manifest
from tests.commands import actavatar
from tests.data import tiny_models
from tests.data.chat_server import ChatServer, says_json

RULES = {
    1: """
rules:
  - {column: probe.seconds, test: ">=", value: 3, kind: hard, reason: shorter than 3 s}
  - {column: probe.short_side, test: ">=", value: 256, kind: hard, reason: too small}
  - {column: shots.cuts, test: "<=", value: 0, kind: hard, reason: a cut inside}
duplicates: [probe.short_side]
""",
    2: """
rules:
  - {column: stage1, test: "==", value: true, kind: hard, reason: not selected for stage 1}
  - {column: motion.score, test: ">=", value: 0.35, kind: soft, reason: little movement}
""",
}


def total(report):
    return sum(json.loads(report.read_text())["counts"].values())


@pytest.mark.slow
def test_from_a_corpus_to_shards(media, tmp_path):
    videos, clips, models, model = (tmp_path / name for name in ("videos", "clips", "models", "model"))
    videos.mkdir()
    for name in (
        "v02_seated_man_gestures_30fps",
        "v03_suit_man_vfr",
        "v11_older_man_head_25fps",
        "v12_no_audio_track_25fps",
    ):
        (videos / f"{name}.mp4").symlink_to(media / "videos" / f"{name}.mp4")
    (videos / "copy.mp4").symlink_to(media / "videos" / "v03_suit_man_vfr.mp4")
    (videos / "broken.mp4").write_bytes((media / "videos" / "v03_suit_man_vfr.mp4").read_bytes()[:50_000])
    (videos / "v02_seated_man_gestures_30fps.txt").write_text("A man sits and talks.")
    (videos / "lost.txt").write_text("A caption without a clip.")
    tiny_models.all_models(models)

    assert actavatar("corpus", "folder", videos, tmp_path / "corpus.parquet") == 0
    assert total(tmp_path / "corpus.report.json") == 7
    assert actavatar("prepare", tmp_path / "corpus.parquet", clips, "--workers", 0) == 2  # as one is broken
    assert json.loads((clips / "report.json").read_text())["counts"] == {
        "made": 4,
        "skipped: no audio stream": 1,
        "skipped: unreadable": 1,
    }
    steps = "probe,voice,duplicates,shots,quality,text_area,faces"
    assert actavatar("filter", clips, "--models", models, "--steps", steps, "--workers", 0) == 0
    for stage, rules in RULES.items():
        (tmp_path / f"{stage}.yaml").write_text(rules)
        assert actavatar("select", clips, "--stage", stage, "--rules", tmp_path / f"{stage}.yaml") == 0
        assert total(clips / f"stage{stage}.json") == 6
    table = read_manifest(clips)
    reasons = dict(zip(table.column("id"), table.column("stage1.reason"), strict=True))
    chosen = sorted(name for name, reason in reasons.items() if reason is None)
    assert len(chosen) == 3 and sorted(reasons.values(), key=str).count("duplicate") == 1
    assert min(value for value in table.column("text_area.available") if value is not None)  # onnxruntime has looked

    with ChatServer(lambda *_: says_json()) as server:
        assert actavatar("annotate", clips, "--server", server.url, "--model", "omni") == 0
    assert len(server.requests) == 3 and total(clips / "annotate.json") == 6

    size = ("--height", 64, "--width", 64, "--frames", 33)
    assert actavatar("init", clips, model, "--preset", "tiny", *size) == 0
    encode = (
        "encode",
        clips,
        tmp_path / "shards",
        "--model",
        model,
        "--stage",
        2,
        "--frames",
        33,
        "--buckets",
        "64x64",
    )
    assert actavatar(*encode, "--process", "0/2") == 0 and actavatar(*encode, "--process", "1/2") == 0
    assert actavatar("encode", clips, tmp_path / "shards", "--commit") == 0
    source = open_dataset(tmp_path / "shards" / "64x64x33").source
    records = [source[i] for i in range(len(source))]
    assert sorted({record["clip"].decode() for record in records}) == chosen
    first = next(record for record in records if record["start"] == 0)
    np.testing.assert_allclose(first["phase_windows"], [[0, 1], [1, 1.32]])  # re-timed to the window

    for folder, page in ((clips, tmp_path / "clips.html"), (tmp_path / "shards", tmp_path / "shards.html")):
        assert actavatar("data", "inspect", folder, "--out", page) == 0
        assert all(name in page.read_text() for name in chosen)
    assert (
        prepare_clips(tmp_path / "corpus.parquet", clips, progress=False).counts()["kept"] == 4
    )  # nothing is done twice
