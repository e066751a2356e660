"""`launch/controls.py` on small films: which clips are cut, and one table of clips and puppets."""

import numpy as np
import pytest
import scipy.io.wavfile
from typer.testing import CliRunner

from actavatar_jax.evaluation.bench import read_bench
from actavatar_jax.evaluation.bench.controls import ControlsReport, Outcome
from actavatar_jax.media import load_video, write_video
from actavatar_jax.puppets import demo
from actavatar_jax.puppets.world.clips import World
from launch import controls

for package in ("jinja2", "dm_pix", "espeakng_loader"):
    pytest.importorskip(package)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Two of 26 and 12 frames, whose brightness is the frame's number; the longer one is large, and silent."""
    folder = tmp_path_factory.mktemp("videos")
    for name, frames, size, sound in (("a", 26, (40, 1024), False), ("b", 12, (48, 64), True)):
        pictures = [np.full((*size, 3), 5 * number, np.uint8) for number in range(frames)]
        samples = np.repeat(np.arange(frames) / 100, 640).astype(np.float32) if sound else None
        write_video(folder / f"{name}.mp4", pictures, samples)
    (folder / "notes.txt").write_text("no video")
    return folder


def run(*arguments):
    return CliRunner().invoke(controls.app, [str(argument) for argument in arguments])


def test_first_stretches_come_first_and_clips_are_small(videos, tmp_path):
    controls.cut_clips(videos, tmp_path, count=3, seconds=0.4)
    items = read_bench(tmp_path / "bench.jsonl")
    assert [item.id for item in items] == ["a_0", "b_0", "a_1"]
    assert {(item.duration, item.windows[0]) for item in items} == {(0.4, (0.13, 0.27))}
    clips = {item.id: load_video(tmp_path / "real" / f"{item.id}.mp4") for item in items}
    assert [clip.frames.shape for clip in clips.values()] == [(10, 20, 512, 3), (10, 48, 64, 3), (10, 20, 512, 3)]
    np.testing.assert_allclose(clips["a_1"].frames.mean((1, 2, 3)), 5 * np.arange(10, 20), atol=3)
    assert clips["a_0"].sound is None and clips["b_0"].audio.shape == (6400,)
    rate, speech = scipy.io.wavfile.read(items[1].audio)
    assert rate == 16000 and len(speech) == 6400 and speech[-1] == pytest.approx(0.09, abs=0.02)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_compilation")
def test_clips_and_puppets_stand_in_one_table(videos, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "world_of", lambda folder: World(side=32, frames=40))
    options = ("--clips", 2, "--seconds", 0.4, "--puppets", 2, "--metrics", "energy,psnr,fid")
    result = run(tmp_path, "--videos", videos, *options)
    assert result.exit_code == 0, result.output
    head, _, *lines = [line for line in result.stdout.splitlines() if line.startswith("|")]
    assert head == ("| control | measure | expected | 2 films of puppets | as it should | 2 clips | as it should |")
    rows = {
        tuple(cells[:2]): cells[2:] for cells in ([c.strip() for c in line.strip("|").split("|")] for line in lines)
    }
    assert rows["frozen", "H@S"][:3] == ["at most 0.1", "0 (0 to 0)", "yes"] and rows["frozen", "H@S"][3:] == ["-", "-"]
    assert rows["blurred", "PSNR, dB"][2] == "yes" and rows["blurred", "PSNR, dB"][4] in ("yes", "NO")
    assert rows["blurred", "fid"][1:] == ["-", "-", "-", "-"]  # no weights
    assert (tmp_path / "clips" / "controls" / "controls.json").is_file()


def test_what_is_not_as_it_should_is_told_loudly():
    report = ControlsReport([Outcome("late", "sync_offset", "sound ahead", "moves by -5", "+3", False)])
    assert controls.table({"12 clips": report}).splitlines()[2] == "| late | sound ahead | moves by -5 | +3 | NO |"


def test_lines_are_in_the_order_of_the_controls_whoever_has_them():
    reports = {
        "films": ControlsReport([Outcome("blurred", "psnr", "PSNR", "falls", "-3", True)]),
        "clips": ControlsReport([Outcome("frozen", "energy", "energy", "not scored", "0 of 2 scored", True)]),
    }
    assert controls.table(reports).splitlines()[2:] == [
        "| frozen | energy | not scored | - | - | 0 of 2 scored | yes |",
        "| blurred | PSNR | falls | -3 | yes | - | - |",
    ]


@pytest.mark.parametrize(
    "clips, words",
    [(4, "has 3 stretches of 0.4 s; 4 clips are asked for"), (2, "has 0 stretches")],
)
def test_videos_that_are_too_few_are_one_sentence(videos, tmp_path, clips, words):
    folder = videos if clips == 4 else tmp_path / "none"
    result = run(tmp_path, "--videos", folder, "--clips", clips, "--seconds", 0.4)
    assert result.exit_code == 2 and result.stderr.startswith("error: ") and words in result.stderr
