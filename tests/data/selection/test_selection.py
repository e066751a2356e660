"""Selection: the first failed rule is the reason, what was not measured, copies, rules files."""

import json

import pytest
import yaml

from actavatar_jax.errors import InputError
from data_pipelines.selection import select_clips
from data_pipelines.selection.ruleset import DEFAULT_RULES, RuleSet
from data_pipelines.table import Clip, Table, read_manifest
from tests.commands import actavatar

GOOD = {
    "prepare.error": None,
    "prepare.slot_error_ms": 0.0,
    "probe.version": "1",
    "probe.has_audio": True,
    "probe.seconds": 5.0,
    "probe.short_side": 720,
    "shots.cuts": 0,
    "faces.available": True,
    "faces.coverage": 1.0,
    "faces.tracks": 1,
    "faces.height": 0.3,
    "faces.height_px": 200.0,
    "text_area.area": 0.0,
    "quality.luminance_mean": 100.0,
    "quality.black_border": 0.0,
    "quality.available": True,
    "quality.score": 0.5,
    "voice.fraction": 0.9,
    "sync.available": True,
    "sync.confidence": 5.0,
    "sync.offset": 1,
    "duplicates.picture": None,
    "duplicates.sound": None,
}


def clip_dir(path, **clips):
    """A clip folder of clips that stage 1 takes, but for the facts given by id."""
    Table.from_clips(Clip(i, "folder", f"{i}.mp4", facts=GOOD | facts) for i, facts in clips.items()).write(
        path / "manifest.parquet"
    )
    return path


def chosen(folder, stage=1):
    """{id: None, or the reason why it is not selected}, from the table."""
    table = read_manifest(folder)
    columns = [table.column(name) for name in ("id", f"stage{stage}", f"stage{stage}.reason")]
    rows = list(zip(*columns, strict=True))
    assert all(selected == (reason is None) for _, selected, reason in rows)
    return {i: reason for i, _, reason in rows}


@pytest.mark.parametrize(
    "column, inside, outside, reason",
    [
        ("probe.has_audio", True, False, "no sound"),
        ("probe.seconds", 3.0, 2.99, "shorter than 3 s"),
        ("probe.short_side", 480, 479, "smaller than 480 pixels"),
        ("prepare.slot_error_ms", 22.0, 22.001, "too few pictures"),
        ("shots.cuts", 0, 1, "a cut inside"),
        ("faces.coverage", 0.9, 0.89, "no face in many frames"),
        ("faces.tracks", 1, 2, "not one face"),
        ("faces.height", 0.05, 0.04, "face too small"),
        ("faces.height_px", 64.0, 63.0, "face too small"),
        ("text_area.area", 0.02, 0.03, "text on screen"),
        ("quality.luminance_mean", 210.0, 211.0, "too dark or too bright"),
        ("quality.luminance_mean", 10.0, 9.0, "too dark or too bright"),
        ("quality.score", 0.25, 0.24, "poor quality"),
        ("voice.fraction", 0.4, 0.39, "little speech"),
        ("sync.confidence", 3.0, 2.9, "lips do not follow the sound"),
        ("sync.offset", -7, -8, "sound shifted"),
        ("sync.offset", 7, 8, "sound shifted"),
    ],
)
def test_each_threshold_of_stage_1(tmp_path, column, inside, outside, reason):
    folder = clip_dir(tmp_path, a={column: inside}, b={column: outside})
    report = select_clips(folder, 1)
    assert chosen(folder) == {"a": None, "b": reason}
    assert report.counts() == {"selected": 1, f"skipped: {reason}": 1}
    assert json.loads((folder / "stage1.json").read_text())["total"] == 2


def test_the_first_failed_rule_is_the_reason(tmp_path):
    folder = clip_dir(
        tmp_path,
        a={"sync.confidence": 1.0, "faces.tracks": 3},
        b={"sync.confidence": 1.25},
        c={"prepare.error": "unreadable", "probe.seconds": 1.0},
    )
    report = select_clips(folder, 1)
    assert chosen(folder) == {"a": "not one face", "b": "lips do not follow the sound", "c": "not prepared"}
    assert [outcome.detail for outcome in report.outcomes] == [
        "faces.tracks is 3, not == 1",
        "sync.confidence is 1.25, not >= 3",
        "not prepared: unreadable",
    ]


def test_without_a_value_hard_rules_fail_and_soft_ones_pass(tmp_path):
    away = {"quality.available": False, "quality.score": None}
    broken = {"sync.error": "too short", "sync.confidence": None, "sync.offset": None}
    unseen = {"voice.fraction": float("nan"), "sync.confidence": float("nan")}
    folder = clip_dir(tmp_path, a=away, b=unseen, c=broken, d={"voice.fraction": None}, e={"shots.cuts": None})
    report = select_clips(folder, 1)
    assert chosen(folder) == {
        "a": None,
        "b": "sync.confidence unknown",  # of what is no number, soft rules say nothing either
        "c": "sync: too short",
        "d": None,
        "e": "shots.cuts unknown",
    }
    assert sum(report.counts().values()) == 5
    notes = {name: count for name, count in report.notes.items() if "not run" not in name}
    assert notes == {"quality: not available": 1, "sync: too short": 1}
    assert "quality: not available" in str(report)
    assert json.loads((folder / "stage1.json").read_text())["notes"] == report.notes


def test_a_hard_rule_without_its_model_is_an_error_that_names_it(tmp_path):
    """Without its model the step makes the column `available` and no other; with it, it may find nothing."""
    table = read_manifest(clip_dir(tmp_path, a={}, b={})).without_step("sync")
    for seen, clips in (([False, False], "2 of 2"), ([True, False], "1 of 2")):
        columns = {"sync.available": seen, "sync.version": ["1"] * 2}
        columns |= {"sync.confidence": [5.0, None], "sync.offset": [0, None]} if seen[0] else {}
        table.with_columns(columns).write(tmp_path / "manifest.parquet")
        before = (tmp_path / "manifest.parquet").read_bytes()
        with pytest.raises(InputError) as error:
            select_clips(tmp_path, 1)
        assert str(error.value) == (
            f"rule 'lips do not follow the sound' needs the column sync.confidence, and {clips} clips were measured "
            "without the model; run `filter --steps sync --models` with a folder that has face.onnx, "
            "syncnet_v2.model, or make the rule soft"
        )
        assert (tmp_path / "manifest.parquet").read_bytes() == before and not (tmp_path / "stage1.json").exists()
    found = {"sync.available": [True] * 2, "sync.version": ["1"] * 2, "sync.error": ["too short", "no face"]}
    table.with_columns(found).write(tmp_path / "manifest.parquet")
    assert select_clips(tmp_path, 1).counts() == {"skipped: sync: no face": 1, "skipped: sync: too short": 1}

    table.write(tmp_path / "manifest.parquet")
    before = (tmp_path / "manifest.parquet").read_bytes()
    with pytest.raises(InputError, match=r"sync\.confidence, which nothing has made; run `filter`"):
        select_clips(tmp_path, 1)
    assert (tmp_path / "manifest.parquet").read_bytes() == before
    (tmp_path / "columns" / "stage1.parquet").unlink()
    with pytest.raises(InputError, match="run `select --stage 1`"):
        select_clips(tmp_path, 2)

    softened = yaml.safe_load((DEFAULT_RULES / "stage1.yaml").read_text())
    for rule in softened["rules"]:
        rule["kind"] = "soft"
    (tmp_path / "soft.yaml").write_text(yaml.safe_dump(softened))
    report = select_clips(tmp_path, 1, tmp_path / "soft.yaml")
    assert report.counts() == {"selected": 2} and report.notes["sync: not run"] == 2


def test_the_best_of_a_group_of_copies_stays(tmp_path):
    one, near, far = "f0f0f0f0f0f0f0f0", "f0f0f0f0f0f0f0f1", "0123456789abcdef"
    sound, other = "ab" * 30, "cd" * 30
    folder = clip_dir(
        tmp_path,
        a={"duplicates.picture": one, "duplicates.sound": sound, "quality.score": 0.3},
        b={"duplicates.picture": near, "duplicates.sound": sound, "quality.score": 0.6},
        c={"duplicates.picture": one, "duplicates.sound": other},  # the same picture, other words
        d={"duplicates.picture": far, "duplicates.sound": sound},
        e={"duplicates.picture": one, "duplicates.sound": sound, "quality.score": 0.9, "shots.cuts": 2},
    )
    report = select_clips(folder, 1)
    assert chosen(folder) == {"a": "duplicate", "b": None, "c": None, "d": None, "e": "a cut inside"}
    assert report.outcomes[0].detail == "the same as b, which is better"
    table = read_manifest(folder)
    unknown = [None if i in "ab" else score for i, score in zip("abcde", table.column("quality.score"), strict=True)]
    table.with_columns({"quality.score": unknown}).write(folder / "manifest.parquet")
    select_clips(folder, 1)
    assert chosen(folder)["a"] is None  # as good as `b` by every column: the first id

    (tmp_path / "keep.yaml").write_text(yaml.safe_dump({"rules": [cuts_rule()]}))
    select_clips(folder, 1, tmp_path / "keep.yaml")
    assert chosen(folder) == {"a": None, "b": None, "c": None, "d": None, "e": "a cut inside"}


def test_copies_are_found_across_corpora_whatever_their_ids_are(tmp_path):
    """Of what another corpus was chosen for; ids of two corpora may be equal."""
    one, near, other = "f0f0f0f0f0f0f0f0", "f0f0f0f0f0f0f0f1", "0123456789abcdef"

    def printed(picture, **facts):
        return {"duplicates.picture": picture, "duplicates.sound": "ab" * 30, "duplicates.version": "1"} | facts

    for name in ("first", "second", "third"):
        (tmp_path / name).mkdir()
    clip_dir(tmp_path / "first", a=printed(one), b=printed(other, **{"shots.cuts": 1}), c={})
    clip_dir(tmp_path / "second", a=printed(other), b=printed(near, **{"quality.score": 0.9}), c=printed(near), d={})
    with pytest.raises(InputError, match=r"first: no column stage1 .*`select --stage 1` there first"):
        select_clips(tmp_path / "second", 1, besides=[tmp_path / "first"])
    select_clips(tmp_path / "first", 1)
    select_clips(tmp_path / "second", 1)
    assert chosen(tmp_path / "second") == {"a": None, "b": None, "c": "duplicate", "d": None}
    assert actavatar("select", tmp_path / "second", "--stage", 1, "--besides", tmp_path / "first") == 0
    assert chosen(tmp_path / "second")["b"] == "duplicate"
    report = select_clips(tmp_path / "second", 1, besides=[tmp_path / "first"])
    assert chosen(tmp_path / "second") == {"a": None, "b": "duplicate", "c": "duplicate", "d": None}
    assert report.outcomes[1].detail == f"the same as {tmp_path / 'first'}/a"
    clip_dir(tmp_path / "third", a=printed(other), b=printed(one))
    select_clips(tmp_path / "third", 1, besides=[tmp_path / "first", tmp_path / "second"])
    assert chosen(tmp_path / "third") == {"a": "duplicate", "b": "duplicate"}
    (tmp_path / "keep.yaml").write_text(yaml.safe_dump({"rules": [cuts_rule()]}))
    with pytest.raises(InputError, match="no list 'duplicates'"):
        select_clips(tmp_path / "third", 1, tmp_path / "keep.yaml", besides=[tmp_path / "first"])


def test_the_report_says_what_each_rule_costs(tmp_path):
    """Of a clip that fails two rules none is the only one; copies and what was not prepared count for none."""
    folder = clip_dir(
        tmp_path,
        a={"shots.cuts": 2},
        b={"shots.cuts": 1, "voice.fraction": 0.1},
        c={"voice.fraction": 0.2},
        d={},
        e={"voice.fraction": 0.3, "prepare.error": "unreadable"},
    )
    report = select_clips(folder, 1)
    rows = json.loads((folder / "stage1.rules.json").read_text())
    counts = {row["rule"]: (row["fail"], row["alone"]) for row in rows if row["fail"]}
    assert counts == {"shots.cuts <= 0": (2, 1), "voice.fraction >= 0.4": (2, 1)}
    assert len(rows) == len(RuleSet.load(DEFAULT_RULES / "stage1.yaml").rules)
    line = next(line for line in str(report).splitlines() if "voice.fraction" in line and "skipped" not in line)
    assert line.split() == ["voice.fraction", ">=", "0.4", "2", "1"] or "c:" in line


def test_stage_2_takes_moving_hands_from_stage_1(tmp_path):
    moving = {"motion.score": 0.65, "motion.hand_visible": 1.0, "motion.camera": None}
    folder = clip_dir(
        tmp_path,
        a=moving,
        b=moving | {"motion.score": 0.64},
        c=moving | {"motion.hand_visible": 0.49},
        d=moving | {"motion.camera": 0.2},
        e=moving | {"probe.has_audio": False},
    )
    select_clips(folder, 1)
    first = read_manifest(folder)
    select_clips(folder, 2)
    assert chosen(folder, 2) == {
        "a": None,
        "b": "little movement",
        "c": "hands not visible",
        "d": "moving camera",
        "e": "not selected for stage 1",
    }
    second = read_manifest(folder)
    assert set(second.names) - set(first.names) == {"stage2", "stage2.reason", "stage2.detail"}
    assert all(second.column(name) == first.column(name) for name in first.names)
    before = (folder / "columns" / "stage2.parquet").read_bytes()
    select_clips(folder, 2)
    assert (folder / "columns" / "stage2.parquet").read_bytes() == before


def cuts_rule(**changed):
    return {"column": "shots.cuts", "test": "<=", "value": 0, "kind": "hard", "reason": "a cut inside"} | changed


@pytest.mark.parametrize(
    "text, message",
    [
        ("rules: [", "not valid YAML"),
        ("- a", "must have a list 'rules'"),
        ("rules: []", "must have a list 'rules'"),
        ("rules: 3", "must have a list 'rules'"),
        (yaml.safe_dump({"rules": [cuts_rule()], "rule": []}), "must have a list 'rules'"),
        (yaml.safe_dump({"rules": [cuts_rule()], "duplicates": "quality.score"}), "may have a list 'duplicates'"),
        (yaml.safe_dump({"rules": [cuts_rule(), cuts_rule(test="<")]}), r"rule 2: test '<': accepted are >=, <="),
        (yaml.safe_dump({"rules": [cuts_rule(kind="firm")]}), "rule 1: kind 'firm': accepted are hard and soft"),
        (yaml.safe_dump({"rules": [cuts_rule(test="within")]}), "does not take 0, but numbers"),
        (yaml.safe_dump({"rules": [cuts_rule(value="many")]}), "does not take 'many', but numbers"),
        (yaml.safe_dump({"rules": [cuts_rule(extra=1)]}), "exactly column, test, value, kind, reason"),
        (yaml.safe_dump({"rules": [cuts_rule(column=3)]}), "column 3 is no text"),
        (yaml.safe_dump({"rules": [cuts_rule(column="corpus")]}), "column corpus holds 'folder', which is not <= 0"),
    ],
)
def test_rules_files_with_faults_are_refused(tmp_path, text, message):
    (tmp_path / "rules.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        select_clips(clip_dir(tmp_path, a={}), 1, tmp_path / "rules.yaml")
    assert "stage1" not in read_manifest(tmp_path).names


def test_other_wrong_input_is_refused(tmp_path):
    with pytest.raises(InputError, match="stage 3: accepted are 1 and 2"):
        select_clips(clip_dir(tmp_path, a={}), 3)
    with pytest.raises(InputError, match="is missing"):
        RuleSet.load(tmp_path / "missing.yaml")
    with pytest.raises(InputError, match=r"no manifest\.parquet"):
        select_clips(tmp_path / "nothing", 1)
