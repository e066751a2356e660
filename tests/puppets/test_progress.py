"""The log of a training over sittings, on a clock that the tests set, and its plot."""

import json
import math

import numpy as np
import pytest
from PIL import Image, ImageColor

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.report import Figure, Report
from actavatar_jax.puppets import progress as puppet_progress
from actavatar_jax.puppets.pictures.page import COLOURS
from actavatar_jax.puppets.progress import Progress, draw_curves, figures_of, read_rows


class Clock:
    """Stands in for `time`: an hour of CPU time and half an hour on the wall for every hour that is worked."""

    def __init__(self, monkeypatch):
        self.hours = 0.0
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(puppet_progress, "time", self)
        self.new_process()

    def work(self, hours):
        self.hours += hours

    def new_process(self):
        self.hours = 0.0
        self._monkeypatch.setattr(puppet_progress, "_last", {})

    def process_time(self):
        return 3600 * self.hours

    def monotonic(self):
        return 1e6 + 1800 * self.hours


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def test_work_adds_up_over_sittings_and_makers_of_rows(tmp_path, clock):
    path = tmp_path / "new" / "progress.jsonl"
    clock.work(0.5)  # before the first row
    Progress(path).add("backbone", 100, psnr_whole=20.0)
    clock.work(1.0)
    Progress(path).add("stage1", 50)  # another object, the same process
    clock.new_process()
    clock.work(0.25)
    Progress(path).add("stage1", 90)
    rows = read_rows(path)
    assert [row["cpu_hours"] for row in rows] == pytest.approx([0.5, 1.5, 1.75])
    assert [(row["stage"], row["step"]) for row in rows] == [("backbone", 100), ("stage1", 50), ("stage1", 90)]
    assert rows[0]["psnr_whole"] == 20.0


def test_every_file_has_its_own_total(tmp_path, clock):
    clock.work(1.0)
    Progress(tmp_path / "a").add("decoder", 1)
    clock.work(1.0)
    assert Progress(tmp_path / "b").add("decoder", 1)["cpu_hours"] == pytest.approx(2.0)
    assert Progress(tmp_path / "a").add("decoder", 2)["cpu_hours"] == pytest.approx(2.0)


def test_speed_is_that_between_two_rows_of_a_stage_in_one_sitting(tmp_path, clock):
    progress = Progress(tmp_path / "p")
    assert progress.add("stage1", 100)["steps_per_s"] is None
    clock.work(1.0)
    assert progress.add("stage1", 1000)["steps_per_s"] == pytest.approx(0.5)  # in half an hour
    clock.work(1.0)
    assert progress.add("stage2", 100)["steps_per_s"] is None
    clock.new_process()
    assert progress.add("stage2", 200)["steps_per_s"] is None


def test_rows_are_json_without_nan(tmp_path, clock):
    Progress(tmp_path / "p").add("decoder", 1, psnr_hands=math.nan, psnr_still=math.inf, hit=None, lips=0.5)
    row = json.loads((tmp_path / "p").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert (row["psnr_hands"], row["psnr_still"], row["hit"], row["lips"]) == (None, None, None, 0.5)


@pytest.mark.parametrize("line", ["{", "3", '{"stage": "x"}', '{"cpu_hours": 1}', '{"stage": "x", "cpu_hours": "?"}'])
def test_a_line_that_is_no_row_is_named(tmp_path, line):
    path = tmp_path / "p"
    path.write_text(f'{{"stage": "x", "cpu_hours": 1}}\n{line}\n')
    for opened in (read_rows, Progress):
        with pytest.raises(InputError, match=r"Line 2 of .*p is no row"):
            opened(path)


def test_no_file_is_no_rows(tmp_path):
    assert read_rows(tmp_path / "absent") == []


def test_figures_of_a_report():
    report = Report(
        1, {name: Figure(float(k), 0.0, 9.0, 1) for k, name in enumerate(("hit", "lip", "psnr_mouth", "centre"))}
    )
    assert figures_of(report) == {"hit": 0, "lips": 1, "psnr_mouth": 2}


# ---- the plot


def row(hours, stage="stage2", **figures):
    return {"stage": stage, "step": 0, "cpu_hours": hours, **figures}


def drawn(rows, path, *panels):
    draw_curves(rows, path, *panels)
    return np.asarray(Image.open(path)).astype(int)


def places(picture, colour, panel=0):
    """Rows and columns of a colour within the plots of a panel."""
    start = 64 + panel * (470 + 64)
    near = np.abs(picture[92:372, start : start + 480] - ImageColor.getrgb(colour)).max(-1) < 60
    return np.argwhere(near)


def test_curves_go_where_the_figures_say(tmp_path):
    rows = [row(1.0, psnr_whole=20.0, hit=0.0), row(2.0, psnr_whole=None, hit=0.5), row(4.0, psnr_whole=24.0, hit=1.0)]
    picture = drawn(rows, tmp_path / "c.png")
    whole, hit = (places(picture, COLOURS[0], panel) for panel in (0, 1))
    assert len(places(picture, COLOURS[1])) == len(places(picture, COLOURS[2], 1)) == 0  # neither hands nor lips
    for found in (whole, hit):
        first, last = found[found[:, 1].argmin()], found[found[:, 1].argmax()]
        assert first[1] == pytest.approx(470 / 4, abs=6) and last[1] == pytest.approx(470, abs=6)
        assert first[0] == pytest.approx(280, abs=6) and last[0] == pytest.approx(0, abs=6)
    middle = hit[np.abs(hit[:, 1] - 470 / 2) < 2, 0]
    assert middle.mean() == pytest.approx(140, abs=4)  # 0.5 at two hours
    assert whole[np.abs(whole[:, 1] - 470 / 2) < 2, 0].mean() == pytest.approx(280 * 2 / 3, abs=4)  # straight across


def test_stages_are_marked_where_they_begin(tmp_path):
    rows = [row(1.0, "backbone", hit=0.2), row(2.0, "backbone", hit=0.2), row(4.0, "stage1", hit=0.2)]
    one, two = drawn(rows, tmp_path / "a.png"), drawn([{**r, "stage": "x"} for r in rows], tmp_path / "b.png")
    changed = np.abs(one - two)[92:372, 64:534].max(-1) > 30
    columns = np.flatnonzero(changed.sum(0) > 200)
    assert len(columns) and columns.mean() == pytest.approx(470 / 2, abs=2)  # at two hours of four
    assert (np.abs(one - two)[30:52] > 100).any()  # their names


def test_curves_end_with_a_stage(tmp_path):
    rows = [row(1.0, "a", hit=0.5), row(2.0, "a", hit=0.5), row(3.0, "b", hit=0.5), row(4.0, "b", hit=0.5)]
    found = places(drawn(rows, tmp_path / "c.png"), COLOURS[0], 1)
    columns = set(found[:, 1].tolist())
    assert {120, 230, 355, 470} <= columns and not {250, 290, 340} & columns  # of 470 for four hours


def test_figures_of_other_trainings_are_drawn_as_told(tmp_path):
    rows = [row(1.0, loss=3.0, flicker=1.5, hit=0.5), row(4.0, loss=1.0, flicker=0.0, hit=0.5)]
    picture = drawn(rows, tmp_path / "c.png", {"left": {"loss": "loss"}, "right": {"flicker": "flicker"}})
    loss, flicker = (places(picture, COLOURS[0], panel) for panel in (0, 1))
    for found in (loss, flicker):  # both fall, and none leaves its panel
        assert found[found[:, 1].argmin(), 0] < 70 and found[found[:, 1].argmax(), 0] > 270
    assert len(places(picture, COLOURS[1])) == len(places(picture, COLOURS[1], 1)) == 0  # no hits, which are not told


@pytest.mark.parametrize("rows", [[row(0.0)], [row(0.01, psnr_whole=20.0)], [row(1.0, lips=-0.3), row(2.0, lips=0.1)]])
def test_few_rows_are_drawn_as_well(tmp_path, rows):
    picture = drawn(rows, tmp_path / "c.png")
    assert picture.std() > 1
    assert len(places(picture, COLOURS[0])) > 0 or "psnr_whole" not in rows[0]


def test_nothing_to_draw_is_said(tmp_path):
    with pytest.raises(InputError, match="no rows"):
        draw_curves([], tmp_path / "c.png")
    assert not list(tmp_path.iterdir())
