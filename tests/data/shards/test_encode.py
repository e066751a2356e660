"""Encoding: what a record holds, what is done again and what is not, and refusals."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.media.audio import load_audio
from actavatar_jax.media.video import load_video
from actavatar_jax.prompt import Phase, StructuredPrompt
from data_pipelines.clips import prepare_clips
from data_pipelines.loading import SyntheticSource
from data_pipelines.shards import (
    BFLOAT16,
    Bucket,
    commit_shards,
    deserialize_record,
    encode_clips,
    find_datasets,
    list_shards,
    open_dataset,
    read_index,
    serialize_record,
    write_dataset,
)
from data_pipelines.shards.array_records import read_records
from data_pipelines.shards.clip_encoder import cut_windows, place_windows
from data_pipelines.shards.slices import EncodingRun
from data_pipelines.table import Journal, Table, clip_path, read_manifest, shelved
from tests.data.fakes import FakeEncoders, WordTokenizer, make_clips, write_clip

CLIPS = {"a": (31, 64, 96), "b": (20, 96, 64), "c": (12, 64, 96)}
SIZES = "32x64,64x32"


def run(clips, shard_dir, encoders=None, **settings):
    settings = {"frames": 9, "buckets": SIZES, "records_per_shard": 2, "progress": False} | settings
    return encode_clips(clips, shard_dir, encoders or FakeEncoders(), **settings)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def clips(tmp_path):
    """Three clips of which `a` has a structured prompt."""
    (tmp_path / "videos").mkdir()
    phases = [{"start": 0.2, "end": 0.6, "action": "Waves."}, {"start": 0.5, "end": 1.2, "action": "Bows low."}]
    (tmp_path / "videos" / "a.json").write_text(json.dumps({"base": "A man.", "phases": phases}))
    return make_clips(tmp_path, CLIPS)


def records(folder):
    dataset = open_dataset(folder)
    return [dataset.source[i] for i in range(len(dataset.source))], dataset


def test_records_are_the_windows_of_the_clips(clips, tmp_path):
    assert run(clips, tmp_path / "shards").counts() == {"made": 3}
    found, dataset = records(tmp_path / "shards" / "32x64x9")
    starts = [(record["clip"].decode().split("-")[0], int(record["start"])) for record in found]
    assert starts == [("a", 0), ("a", 9), ("a", 18), ("c", 0)]
    assert len(list((tmp_path / "shards" / "32x64x9").glob("*.array_record-*-of-00002"))) == 2
    assert (len(records(tmp_path / "shards" / "64x32x9")[0])) == 2

    second, encoders = found[1], FakeEncoders()
    clip = next((clips / "clips").rglob("a-*.mp4"))
    video = load_video(clip, size=(32, 64))
    np.testing.assert_array_equal(second["latents"], encoders.video(video.frames[9:18]).astype(BFLOAT16))
    np.testing.assert_array_equal(
        second["audio_feats"], encoders.audio(video.audio[9 * 640 : 18 * 640], 9).astype(np.float16)
    )
    assert second["latents"].shape == (3, 2, 4, 3) and second["latents"].dtype == BFLOAT16

    prompt = StructuredPrompt.load(clip.with_suffix(".json")).window(
        0.36, 0.72
    )  # of "Waves." 0.24 s are left: too short
    assert len(prompt.phases) == 0 and len(found[2]["phase_windows"]) == 1
    np.testing.assert_allclose(found[2]["phase_windows"], [[0, 0.36]], atol=1e-6)
    tokens = StructuredPrompt.load(clip.with_suffix(".json")).window(0.72, 1.08).tokenise(WordTokenizer())
    np.testing.assert_array_equal(found[2]["text_tokens"], tokens.ids)
    np.testing.assert_array_equal(found[2]["phase_ids"], tokens.phase_ids)
    assert found[2]["text_embeds"].shape == (len(tokens.ids), 6) and set(found[2]["phase_ids"]) == {0, 1}
    assert (
        found[3]["text_tokens"].tolist() == StructuredPrompt("A person speaking").tokenise(WordTokenizer()).ids.tolist()
    )

    assert dataset.metadata["latent_shape"] == [3, 2, 4, 3] and dataset.metadata["records"] == 4
    assert dataset.metadata["encoders"] == encoders.fingerprint() and dataset.metadata["fps"] == 25
    np.testing.assert_array_equal(dataset.empty_prompt.tokens, [1])
    np.testing.assert_array_equal(
        dataset.empty_prompt.embeds, encoders.text([StructuredPrompt("")])[0][0, :1].astype(BFLOAT16)
    )


def test_texts_are_bare_where_that_is_asked_for(clips, tmp_path):
    run(clips, tmp_path / "shards", anchors=False)
    found, dataset = records(tmp_path / "shards" / "32x64x9")
    told, anchored = found[2], StructuredPrompt("A man.", (Phase(0, 0.36, "Bows low."),)).tokenise(WordTokenizer())
    bare = [
        token for text in ("A man.", "Bows low.") for token in WordTokenizer().encode(text, add_special_tokens=False)
    ]
    assert told["text_tokens"].tolist() == [*bare, WordTokenizer.eos_token_id] and len(anchored.ids) > len(bare) + 1
    assert told["phase_ids"].tolist() == [0, 0, 1, 1, 1]  # the end token has that of the last phase
    np.testing.assert_allclose(told["phase_windows"], [[0, 0.36]], atol=1e-6)
    assert dataset.anchors is dataset.metadata["anchors"] is False
    run(clips, tmp_path / "anchored")
    assert records(tmp_path / "anchored" / "32x64x9")[1].anchors is True


def test_a_record_is_always_the_same_bytes():
    """Protobuf would order the fields differently in every process."""
    source = SyntheticSource(Bucket(32, 64, 9), channels=2, text_dim=4, audio_layers=1, audio_dim=2)
    data = serialize_record(source[3])
    names = sorted(name.encode() for name in source[3])
    assert names == sorted(names, key=data.find) and all(name in data for name in names)
    read = deserialize_record(data)
    assert all(np.array_equal(read[name], value) for name, value in source[3].items() if name != "clip")


def test_windows_may_overlap_or_leave_gaps():
    frames = np.arange(12).reshape(12, 1, 1, 1)
    for stride, starts in [(1, [0, 1, 2, 3, 4, 5, 6, 7]), (5, [0, 5]), (7, [0, 7]), (9, [0])]:
        assert place_windows(12, 5, stride) == starts
        cut = list(cut_windows(iter(frames), 5, starts))
        assert [start for start, _ in cut] == starts
        assert all(window[:, 0, 0, 0].tolist() == list(range(start, start + 5)) for start, window in cut)


@pytest.mark.parametrize(
    ("frames", "starts"),
    [
        (124, []), (125, [0]), (187, [0]), (188, [0, 63]), (249, [0, 124]), (250, [0, 125]), (312, [0, 125]),
        (374, [0, 125, 249]),
    ],
)  # fmt: skip
def test_a_rest_of_half_a_window_is_not_lost(frames, starts):
    assert place_windows(frames, 125, 125) == starts
    assert place_windows(frames, 125, 126)[1:] == [126][: frames >= 251] + [252][: frames >= 377]  # as it was asked for


def test_a_clip_of_nearly_two_windows_has_two(tmp_path):
    """And a folder from before gets the second one, where nothing else is done again."""
    clips = make_clips(tmp_path, {"a": (17, 64, 96), "b": (18, 64, 96)})
    encoders = FakeEncoders()
    assert run(clips, tmp_path / "shards", encoders).counts() == {"made": 2} and encoders.calls == 4
    found, _ = records(tmp_path / "shards" / "32x64x9")
    starts = [(record["clip"].decode()[0], int(record["start"])) for record in found]
    assert starts == [("a", 0), ("a", 8), ("b", 0), ("b", 9)]
    video = load_video(next((clips / "clips").rglob("a-*.mp4")), size=(32, 64))
    np.testing.assert_array_equal(found[1]["latents"], encoders.video(video.frames[8:17]).astype(BFLOAT16))
    np.testing.assert_array_equal(
        found[1]["audio_feats"], encoders.audio(video.audio[8 * 640 : 17 * 640], 9).astype(np.float16)
    )


def test_clips_that_cannot_be_encoded_are_reported(clips, tmp_path):
    next((clips / "clips").rglob("c-*.json"), next((clips / "clips").rglob("c-*.mp4")).with_suffix(".json")).write_text(
        json.dumps({"base": "word " * 80})
    )
    report = run(clips, tmp_path / "shards", frames=21)
    assert report.counts() == {"made": 1, "skipped: too short": 2}
    assert run(clips, tmp_path / "others").counts() == {"made": 2, "skipped: prompt too long": 1}
    assert json.loads((tmp_path / "others" / "report.json").read_text())["total"] == 3

    class Broken(FakeEncoders):
        def audio(self, samples, num_frames):
            return super().audio(samples, num_frames) * np.inf

    assert run(clips, tmp_path / "broken", Broken()).counts() == {
        "skipped: prompt too long": 1,
        "skipped: not finite": 2,
    }


def test_finished_clips_are_not_encoded_again(clips, tmp_path):
    encoders = FakeEncoders()
    run(clips, tmp_path / "shards", encoders)
    before, calls = without_report(tmp_path / "shards"), encoders.calls
    assert run(clips, tmp_path / "shards", encoders).counts() == {"kept": 3} and encoders.calls == calls
    assert without_report(tmp_path / "shards") == before

    files = inodes(tmp_path / "shards")
    write_clip(tmp_path / "videos" / "aa.mp4", 10)  # between two others
    prepare_clips(tmp_path / "videos", clips, min_frames=5, min_side=32, progress=False)
    assert run(clips, tmp_path / "shards", encoders).counts() == {"kept": 3, "made": 1}
    assert files < inodes(tmp_path / "shards"), "a new clip has shards written again"

    (tmp_path / "videos" / "b.txt").write_text("A woman.")
    (tmp_path / "videos" / "c.mp4").unlink()
    prepare_clips(tmp_path / "videos", clips, min_frames=5, min_side=32, progress=False)
    assert run(clips, tmp_path / "shards", encoders).counts() == {"kept": 2, "made": 1}
    assert len(files & inodes(tmp_path / "shards")) == 1  # the other ones held the clips that changed, and is gone
    run(clips, tmp_path / "fresh")
    assert contents(tmp_path / "shards") == contents(tmp_path / "fresh")
    assert [row.clip[:2] for row in read_index(tmp_path / "shards" / "32x64x9")] == ["a-", "aa"]


def inodes(folder: Path) -> set[int]:
    """The files that are shards."""
    return {path.stat().st_ino for path in folder.glob("*/*array_record-*")}


def contents(folder: Path) -> dict[str, list[bytes]]:
    """The records of each bucket, in whatever shards they lie, by clip and time."""
    return {
        place.name: sorted(record for path in list_shards(place) for record in read_records(path))
        for place in find_datasets([folder])
    }


def test_a_dataset_from_before_whose_clips_lie_in_two_shards_goes_on(clips, tmp_path):
    """Its records were cut into shards of the same length."""
    run(clips, tmp_path / "shards")
    bucket = tmp_path / "shards" / "32x64x9"
    records = [record for path in list_shards(bucket) for record in read_records(path)]
    metadata, index = (json.loads((bucket / name).read_text()) for name in ("metadata.json", "index.json"))
    shutil.rmtree(bucket)
    bucket.mkdir()
    write_dataset(bucket, iter(records), 4, 2, metadata)
    (bucket / "index.json").write_text(json.dumps(index))
    files = inodes(tmp_path / "shards")
    assert run(clips, tmp_path / "shards").counts() == {"kept": 3}
    write_clip(tmp_path / "videos" / "d.mp4", 12)
    prepare_clips(tmp_path / "videos", clips, min_frames=5, min_side=32, progress=False)
    assert run(clips, tmp_path / "shards").counts() == {"kept": 3, "made": 1}
    assert files < inodes(tmp_path / "shards")
    assert [(row.clip[0], row.records) for row in read_index(bucket)] == [("a", 3), ("c", 1), ("d", 1)]
    (tmp_path / "videos" / "c.mp4").unlink()
    prepare_clips(tmp_path / "videos", clips, min_frames=5, min_side=32, progress=False)
    assert run(clips, tmp_path / "shards").counts() == {"kept": 3}
    run(clips, tmp_path / "fresh")
    assert contents(tmp_path / "shards") == contents(tmp_path / "fresh")
    assert len(open_dataset(bucket).source) == 4


def test_a_clip_that_fails_or_ends_its_process_is_a_row(clips, tmp_path):
    class Failing(FakeEncoders):
        def audio(self, samples, num_frames):
            raise ZeroDivisionError("a bug")

    assert run(clips, tmp_path / "shards", Failing()).counts() == {"skipped: unexpected error": 3}
    begun = tmp_path / "shards" / ".staged" / "begun-0-of-1"
    begun.mkdir(parents=True)
    for killed in range(3):
        Journal(begun, killed).add(read_manifest(clips).column("id")[0])
    report = run(clips, tmp_path / "shards")
    assert report.counts() == {"made": 2, "skipped: crashed": 1}
    assert run(clips, tmp_path / "shards").counts() == {"kept": 2, "made": 1}


def test_other_settings_and_other_clips_are_refused(clips, tmp_path):
    run(clips, tmp_path / "shards")
    before = tree(tmp_path / "shards")
    for settings in (
        {"stride_frames": 3},
        {"frames": 13},
        {"anchors": False},
        {"encoders": FakeEncoders("new")},
        {"buckets": "32x32"},
    ):
        with pytest.raises(InputError, match="other settings"):
            run(clips, tmp_path / "shards", **settings)
    others = make_clips(tmp_path / "other", {"z": (12, 64, 96)})
    with pytest.raises(InputError, match="another clip folder"):
        run(others, tmp_path / "shards")
    assert tree(tmp_path / "shards") == before
    with pytest.raises(InputError, match=r"no manifest\.parquet"):
        run(tmp_path / "videos", tmp_path / "new")


def without_report(folder: Path) -> dict[str, bytes]:
    """All files but the report, which says what each run did."""
    return {name: data for name, data in tree(folder).items() if name != "report.json"}


@pytest.mark.parametrize("count", [2, 5])  # five slices of four clips: one has none
def test_slices_end_with_the_records_of_one_process(tmp_path, count):
    clips = make_clips(tmp_path, {"a": (9, 32, 64), "b": (18, 32, 64), "c": (9, 32, 64), "d": (9, 64, 32)})
    run(clips, tmp_path / "one")
    encoders = [FakeEncoders() for _ in range(count)]
    for index in reversed(range(count)):
        with pytest.raises(InputError, match=r"nothing to commit|not to be committed"):
            commit_shards(clips, tmp_path / "many")
        report = run(clips, tmp_path / "many", encoders[index], process=(index, count))
        assert len(report.outcomes) == (len(range(index, 4, count)) if index else 4)
    assert sum(part.calls for part in encoders) == 5  # windows of all clips
    assert contents(tmp_path / "many") == contents(tmp_path / "one")
    assert not (tmp_path / "many" / ".staged").exists()
    assert commit_shards(clips, tmp_path / "many").counts() == {}
    assert json.loads((tmp_path / "many" / "report.json").read_text())["counts"] == {"made": 4}


def test_slices_of_different_runs_are_never_put_together(clips, tmp_path, monkeypatch):
    def slices():
        return sorted(path.name for path in (tmp_path / "shards" / ".staged").glob("slice-*"))

    run(clips, tmp_path / "shards", process=(0, 2))
    run(clips, tmp_path / "shards", process=(0, 3))
    assert slices() == ["slice-0-of-3.json"]
    run(clips, tmp_path / "shards", process=(1, 3), stride_frames=3)
    assert slices() == ["slice-1-of-3.json"]
    with pytest.raises(InputError, match=r"0/3, 2/3"):
        commit_shards(clips, tmp_path / "shards")

    monkeypatch.setattr(EncodingRun, "is_complete", lambda self: False)  # killed before it commits
    for index in range(2):
        run(clips, tmp_path / "shards", process=(index, 2))

    class Breaking(FakeEncoders):
        def video(self, frames):
            raise KeyboardInterrupt

    next((clips / "clips").rglob("c-*.mp4")).with_suffix(".json").write_text('{"base": "A new prompt."}')
    with pytest.raises(KeyboardInterrupt):
        run(clips, tmp_path / "shards", Breaking(), process=(0, 2))
    with pytest.raises(InputError, match="0/2 has ended"):  # not what that slice had done before
        commit_shards(clips, tmp_path / "shards")

    run(clips, tmp_path / "shards", process=(0, 2))
    table = read_manifest(clips)
    table.with_columns({"stage1": [True] * 3}).write(clips / "manifest.parquet")  # which is not asked for
    Table(table.data.slice(1)).write(tmp_path / "less" / "manifest.parquet")
    with pytest.raises(InputError, match="manifest has changed"):
        commit_shards(tmp_path / "less", tmp_path / "shards")
    assert sum(commit_shards(clips, tmp_path / "shards").counts().values()) == 3
    with pytest.raises(InputError, match="accepted are 0/2 to 1/2"):
        run(clips, tmp_path / "shards", process=(2, 2))


def test_a_stage_encodes_the_clips_that_were_selected_for_it(clips, tmp_path):
    with pytest.raises(InputError, match="select --stage 1"):
        run(clips, tmp_path / "first", stage=1)
    table = read_manifest(clips)
    assert [name.split("-")[0] for name in table.column("id")] == ["a", "b", "c"]
    chosen = {"stage1": [True, False, True], "stage2": [True, False, True], "stage3": [False] * 3}
    table.with_columns(chosen).write(clips / "manifest.parquet")
    assert run(clips, tmp_path / "first", stage=1).counts() == {"made": 2}
    assert run(clips, tmp_path / "second", stage=2).counts() == {"made": 1, "skipped: no actions": 1}
    with pytest.raises(InputError, match="other settings"):
        run(clips, tmp_path / "first", stage=2)
    with pytest.raises(InputError, match="no usable clip"):
        run(clips, tmp_path / "third", stage=3)


def test_a_clip_is_never_enlarged_much_and_the_index_says_by_how_much(clips, tmp_path):
    """Clips of 64 x 96 and 96 x 64 pixels."""
    report = run(clips, tmp_path / "shards", buckets="96x160,160x96/64x96")
    assert report.counts() == {"made": 2, "skipped: too small": 1}
    (small,) = (outcome.detail for outcome in report.outcomes if outcome.status == "skipped")
    assert small.startswith("96x64 pixels would be enlarged 1.50 times for 64x96, and at most 1.1 are accepted")
    assert [folder.name for folder in find_datasets([tmp_path / "shards"])] == ["64x96x9"]
    rows = json.loads((tmp_path / "shards" / "64x96x9" / "index.json").read_text())
    assert [row["enlargement"] for row in rows] == [1.0, 1.0] and not report.notes
    assert run(clips, tmp_path / "more", buckets="64x96/96x64").counts() == {"made": 3}
    report = run(clips, tmp_path / "grown", buckets="64x96,96x64,64x64,96x96")  # of one area, so the nearest shape
    assert report.counts() == {"made": 3} and not report.notes
    assert run(clips, tmp_path / "little", buckets="64x64").counts() == {"made": 3}
    prepared = pq.read_table(clips / "columns" / "prepare.parquet").to_pydict()
    prepared |= {"prepare.width": [90, 90, 64], "prepare.height": [60, 64, 64]}
    pq.write_table(pa.table(prepared), clips / "columns" / "prepare.parquet")
    report = run(clips, tmp_path / "odd", buckets="64x96")
    assert report.counts() == {"made": 2, "skipped: too small": 1}
    assert report.notes == {"of these enlarged, at most 1.1 times": 2}
    stored = json.loads((tmp_path / "odd" / "report.json").read_text())
    assert stored["notes"] == report.notes and stored["counts"] == report.counts()


def bases(folder):
    """What is told in the records of a shard folder, by the first letter of the clip: a word per token."""
    found, _ = records(folder)
    return {record["clip"].decode()[0]: record["text_tokens"].tolist() for record in found if not record["start"]}


def test_the_stage_decides_which_of_two_texts_is_encoded(clips, tmp_path):
    """Whatever was made first; the caption is not lost to the actions."""
    tokens, video = {}, next((clips / "clips").rglob("c-*.mp4"))
    folder, name = video.parent, video.stem
    seen = StructuredPrompt("A man in red.", (Phase(0, 0.4, "Waves twice."),))
    (folder / f"{name}.json").write_text(json.dumps({"base": "A caption."}))
    read_manifest(clips).with_columns({"stage1": [True] * 3, "stage2": [False, False, True]}).write(
        clips / "manifest.parquet"
    )
    run(clips, tmp_path / "early", stage=1)
    (folder / f"{name}.actions.json").write_text(json.dumps(seen.to_dict()))
    assert run(clips, tmp_path / "early", stage=1).counts() == {"kept": 3}
    for stage in (1, 2, None):
        run(clips, tmp_path / str(stage), stage=stage)
        tokens[stage] = bases(tmp_path / str(stage) / "32x64x9")["c"]
    assert without_report(tmp_path / "1") == without_report(tmp_path / "early")
    assert tokens[1] == StructuredPrompt("A caption.").tokenise(WordTokenizer()).ids.tolist()
    assert tokens[2] == tokens[None] == seen.window(0, 0.36).tokenise(WordTokenizer()).ids.tolist()
    prepare_clips(clips.parent / "videos", clips, min_frames=5, min_side=32, progress=False)
    assert (folder / f"{name}.actions.json").is_file()
    write_clip(clips.parent / "videos" / "c.mp4", 13, 64, 96, seed=9)
    prepare_clips(clips.parent / "videos", clips, min_frames=5, min_side=32, progress=False)
    assert not list(folder.glob("c-*.json"))  # of another clip


def test_captions_that_are_lost_to_an_earlier_version_are_not_trained_on(clips, tmp_path):
    name = next((clips / "clips").rglob("c-*.mp4")).stem
    phases = [{"start": 0, "end": 0.4, "action": "Waves."}]
    shelved(clips / "clips", name, ".json").write_text(json.dumps({"base": "A man.", "phases": phases}))
    assert run(clips, tmp_path / "by hand").counts() == {"made": 3}
    (clips / "answers").mkdir()
    (clips / "answers" / f"{name}.jsonl").write_text("")
    with pytest.raises(InputError, match=rf"over the captions of 1 clips, {name} among them; run `annotate`"):
        run(clips, tmp_path / "shards")


def test_sound_that_comes_late_is_moved_back(clips, tmp_path):
    """What was heard three frames late is encoded with the picture that it belongs to, and else nothing changes."""
    heard = {}

    class Ears(FakeEncoders):
        def audio(self, samples, num_frames):
            heard.setdefault(run_name, []).append(samples.copy())
            return super().audio(samples, num_frames)

    table, manifest = read_manifest(clips), clips / "manifest.parquet"
    for run_name, facts in {
        "as it is": {},
        "late": {"sync.confidence": [5.0] * 3, "sync.offset": [3, 3, 3]},
        "early": {"sync.confidence": [5.0] * 3, "sync.offset": [-2, -2, -2]},
        "not sure": {"sync.confidence": [1.0] * 3, "sync.offset": [3, 3, 3]},
    }.items():
        table.with_columns(facts).write(manifest)
        assert run(clips, tmp_path / run_name, Ears(), stride_frames=9).counts() == {"made": 3}
    whole = load_audio(clip_path(next(iter(table)), clips))
    first, late, early = (heard[name][0] for name in ("as it is", "late", "early"))
    np.testing.assert_array_equal(late, whole[3 * 640 : 12 * 640])
    assert not early[: 2 * 640].any()
    np.testing.assert_array_equal(early[2 * 640 :], whole[: 7 * 640])
    assert [np.array_equal(a, b) for a, b in zip(heard["as it is"], heard["not sure"], strict=True)] == [True] * len(
        heard["as it is"]
    )
    assert not np.array_equal(first, late)
    table.with_columns({"sync.confidence": [5.0] * 3, "sync.offset": [4, 3, 3]}).write(manifest)
    before = len(heard["late"])
    run_name = "late"
    assert run(clips, tmp_path / "late", Ears(), stride_frames=9).counts() == {"made": 1, "kept": 2}
    assert len(heard["late"]) - before == 3  # the windows of the clip whose offset is another now


def test_clips_that_are_held_back_for_tests_are_encoded_only_when_asked_for(clips, tmp_path):
    table, manifest = read_manifest(clips), clips / "manifest.parquet"
    assert table.column("split") == [None] * 3
    table.with_columns({"split": ["train", "test", None]}).write(manifest)
    report = run(clips, tmp_path / "train")
    assert report.counts() == {"made": 2, "held back: test": 1} and "held back: test" in str(report)
    report.check()  # it is no failure
    assert json.loads((tmp_path / "train" / "report.json").read_text())["counts"] == report.counts()
    slices = [run(clips, tmp_path / "slices", process=(index, 2)) for index in range(2)]
    assert slices[-1].counts() == report.counts()  # the one that ends last tells of all
    assert run(clips, tmp_path / "test", split="test").counts() == {"made": 1}
    with pytest.raises(InputError, match="other settings"):
        run(clips, tmp_path / "train", split="test")
    with pytest.raises(InputError, match=r"splits \(none, test, train\) there are none of sft"):
        run(clips, tmp_path / "sft", split="sft")
    table.with_columns({"split": ["test", "val", "test"]}).write(manifest)
    with pytest.raises(InputError, match=r"splits \(test, val\) there are only clips that are held back"):
        run(clips, tmp_path / "none")


def test_a_job_of_several_jax_processes_takes_its_slice(clips, tmp_path, monkeypatch):
    monkeypatch.setattr("jax.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("jax.process_index", lambda: 1)
    monkeypatch.setattr("jax.process_count", lambda: 2)
    (outcome,) = run(clips, tmp_path / "shards").outcomes
    assert outcome.name.startswith("b-") and not list((tmp_path / "shards").glob("*/index.json"))


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["fresh", "grown", "shared"])
def test_killed_anywhere_it_ends_with_the_same_bytes(tmp_path, scenario):
    """Kills the encoding before each of its writes and renames in turn; see kill_encode.py."""
    clips = make_clips(tmp_path, {"a": (18, 32, 64), "b": (9, 32, 64)})  # 3 records in 2 shards
    command = [sys.executable, "-m", "tests.data.shards.kill_encode", str(clips), str(tmp_path / "killed"), scenario]
    ended = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert int(ended.stdout.split()[-1]) > 15  # kills


def test_a_clip_that_cannot_be_read_is_a_row(tmp_path, monkeypatch):
    clips = make_clips(tmp_path, {"a": (9, 32, 64), "b": (9, 32, 64), "c": (9, 32, 64)})
    gone, denied, _ = sorted((clips / "clips").rglob("*.mp4"), key=lambda path: path.name)
    gone.unlink()
    real = Path.open

    def open_or_not(path, *arguments, **settings):
        if path == denied:
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments, **settings)

    monkeypatch.setattr(Path, "open", open_or_not)  # tests may run as root, who has all
    report = encode_clips(clips, tmp_path / "shards", FakeEncoders(), frames=9, buckets="32x64", progress=False)
    assert report.counts() == {"made": 1, "skipped: no clip": 1, "skipped: unreadable": 1}


def test_a_damaged_slice_is_no_end(tmp_path):
    """What a disk made of the file of another run; a commit names it, and the next encoding replaces it."""
    clips = make_clips(tmp_path, {"a": (9, 32, 64), "b": (9, 32, 64)})
    settings = {"frames": 9, "buckets": "32x64", "progress": False}
    encode_clips(clips, tmp_path / "shards", FakeEncoders(), process=(0, 2), **settings)
    (damaged,) = (tmp_path / "shards" / ".staged").glob("slice-0-*.json")
    damaged.write_text('{"run": {"manifest": 5}}')
    with pytest.raises(
        InputError, match=r"slice-0-of-2\.json: .*clips is missing.*run\.manifest is 5, accepted is text"
    ):
        commit_shards(clips, tmp_path / "shards")
    for index in (0, 1):
        report = encode_clips(clips, tmp_path / "shards", FakeEncoders(), process=(index, 2), **settings)
    assert sum(report.counts().values()) == 2 and len(list((tmp_path / "shards").glob("*/index.json"))) == 1
