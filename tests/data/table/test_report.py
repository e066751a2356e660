"""Reports: counts that add up, sentences of one line, and which outcomes are failures of a command."""

import json

import pytest

from actavatar_jax.errors import InputError
from data_pipelines.table import StepReport


def report(*outcomes) -> StepReport:
    made = StepReport("prepared a -> b")
    for number, (status, reason) in enumerate(outcomes):
        made.add(f"clip{number}", status, reason, f"{reason}, in a sentence" if reason else "")
    return made


def test_what_a_rule_leaves_out_is_no_failure():
    report(("made", ""), ("kept", ""), ("skipped", "too short"), ("not selected", "")).check()
    report(("not selected", ""), ("not selected", "")).check()
    report().check()


def test_a_failure_among_others_is_told():
    with pytest.raises(InputError, match="2 of 3 failed, the others are done: 2 unreadable"):
        report(("made", ""), ("skipped", "unreadable"), ("skipped", "unreadable"), ("not selected", "")).check()


def test_where_all_is_left_out_that_is_told():
    said = "prepared a -> b: nothing could be used of 3: 2 too short; 1 unreadable"
    outcomes = (("skipped", "too short"), ("skipped", "unreadable"), ("skipped", "too short"), ("not selected", ""))
    with pytest.raises(InputError, match=said):
        report(*outcomes).check()


def test_names_from_disks_and_archives_can_be_written(tmp_path):
    told = StepReport("a")
    told.add("caf\udce9\n", "skipped", "odd name", "x" * 10_000 + "\u2028\0")
    told.save(tmp_path / "a.json")
    (row,) = json.loads((tmp_path / "a.json").read_text())["skipped"]
    assert row["name"] == r"caf\udce9" and len(row["detail"]) == 400
    assert str(told).isascii() or "…" in str(told)
