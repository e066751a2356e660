"""Reading ahead: in order, no further than allowed, what goes wrong where it is taken, no clip blamed for another."""

import itertools
import json
import threading
import time

import pytest

from data_pipelines.shards import encode_clips
from data_pipelines.shards.ahead import Ahead
from data_pipelines.shards.slice_encoder import _begun
from data_pipelines.table import GIVEN_UP, Clip
from tests.data.fakes import FakeEncoders, make_clips


def test_items_come_in_order_and_one_is_made_while_nobody_takes_it():
    made = []
    with_waiting = Ahead(made.append(number) or number for number in range(5))
    for expected in range(5):
        _until(lambda least=expected: len(made) > least)
        time.sleep(0.02)
        assert made == list(range(expected + 1))  # and none beyond that
        assert next(with_waiting) == expected
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(with_waiting)
    with_waiting.close()
    assert with_waiting.busy > 0 and with_waiting.waited > 0


def test_what_goes_wrong_is_raised_behind_the_items_before():
    def items():
        yield 1
        raise ValueError("broken")

    ahead = Ahead(items())
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="broken"):
        next(ahead)
    ahead.close()


def test_closing_ends_the_thread_and_what_it_reads_from():
    closed = threading.Event()

    def items():
        try:
            yield from itertools.count()
        finally:
            closed.set()

    ahead = Ahead(items())
    assert next(ahead) == 0
    ahead.close()
    assert closed.is_set() and not ahead._thread.is_alive()


def test_the_next_clip_is_begun_while_one_is_encoded_but_not_beside_one_that_a_killed_run_had_begun():
    log = []
    clips = [Clip(name, "corpus", f"{name}.mp4") for name in "abcdefg"]
    begin = lambda clip: log.append(f"begin {clip.id}") or clip.id  # noqa: E731
    for what in _begun(clips, {"d": 1, "f": GIVEN_UP}, begin):
        log.append(what if isinstance(what, str) else f"{what.clip} {what.reason}")
    assert log == [
        "begin a", "begin b", "a", "begin c", "b", "c", "begin d", "d", "begin e", "e", "f crashed", "begin g", "g",
    ]  # fmt: skip


def test_the_report_says_what_reading_and_encoding_took(tmp_path):
    clips = make_clips(tmp_path, {"a": (9, 32, 64), "b": (9, 32, 64)})

    class Slow(FakeEncoders):
        def video(self, frames):
            time.sleep(0.2)
            return super().video(frames)

    settings = {"frames": 9, "buckets": "32x64", "progress": False}
    report = encode_clips(clips, tmp_path / "shards", Slow(), **settings)
    assert report.seconds.keys() == {"reading", "encoding", "waiting"} and report.seconds["encoding"] >= 0.2
    assert report.seconds["reading"] > 0 and report.seconds["waiting"] >= 0
    assert f"{report.seconds['reading']:.2f} s to read, {report.seconds['encoding']:.2f} s to encode" in str(report)
    assert json.loads((tmp_path / "shards" / "report.json").read_text())["seconds"] == report.seconds
    again = encode_clips(clips, tmp_path / "shards", Slow(), **settings)
    assert again.counts() == {"kept": 2} and not again.seconds and "s to read" not in str(again)


def _until(holds):
    for _ in range(500):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it never came")
