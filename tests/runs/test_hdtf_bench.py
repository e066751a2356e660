"""The HDTF protocol from lists and videos to a bench, with `real` beside it, as docs/evaluation.md has it."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import scipy.io.wavfile
from PIL import Image

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.bench import read_bench
from actavatar_jax.media import load_video, write_video
from actavatar_jax.runs.hdtf_bench import write_hdtf_bench
from data_pipelines.corpora import list_test_clips
from tests.commands import actavatar
from tests.data.corpora.test_hdtf import hdtf

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "evaluation.md").read_text()
SECTION = PAGE.partition("### HDTF")[2].partition("\n## ")[0]
SIDE = 256
TIMES = "Ann0.mp4 00:02-00:08\nBob.mp4 00:10-00:17\nCy.mp4 00:00-00:10\nDee.mp4 00:00-00:04\n"


def film(path, seconds):
    """The brightness of a frame tells its number, from 20 on, and a tone tells the second that it is heard in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = (np.full((SIDE, SIDE, 3), 20 + number % 220, np.uint8) for number in range(25 * seconds))
    time = np.arange(16000 * seconds) / 16000
    write_video(path, frames, (0.5 * np.sin(2 * np.pi * (300 + 200 * np.floor(time)) * time)).astype(np.float32))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Ann is there as a whole video, Bob as a clip that was cut; Cy is gone, and Dee speaks for less than 5 s."""
    src = hdtf(tmp_path_factory.mktemp("corpus"), annotion_time=TIMES)
    film(src / "videos" / "RD_Ann0.mp4", 9)
    film(src / "videos" / "RD_Bob_000.mp4", 7)
    film(src / "videos" / "stranger.mp4", 1)
    return src


def second_heard(samples):
    """Of the first half second."""
    return (np.argmax(np.abs(np.fft.rfft(samples[:8000]))) * 2 - 300) / 200


def test_clips_of_the_list_become_items_with_what_was_filmed(corpus, tmp_path, capsys):
    assert actavatar("bench", "hdtf", corpus, tmp_path / "bench", "--workers", 0) == 0
    said = capsys.readouterr().out
    assert "made                   2" in said and "skipped: no clip       1" in said and "RD_Cy_0: " in said
    starts = list_test_clips(corpus)
    assert sorted(starts) == ["RD_Ann0_0", "RD_Bob_0", "RD_Cy_0"]
    seen_from = {"RD_Ann0_0": starts["RD_Ann0_0"], "RD_Bob_0": starts["RD_Bob_0"] - 10}
    items = read_bench(tmp_path / "bench" / "bench.jsonl")
    assert [item.id for item in items] == list(seen_from)
    for item in items:
        first = 20 + 25 * seen_from[item.id] % 220
        real = load_video(tmp_path / "bench" / "real" / f"{item.id}.mp4")
        assert real.frames.shape == (125, SIDE, SIDE, 3)
        np.testing.assert_allclose(real.frames[[0, 10]].mean((1, 2, 3)), [first, first + 10], atol=2)
        assert np.array_equal(np.asarray(Image.open(item.image)), real.frames[0])
        rate, sound = scipy.io.wavfile.read(item.audio)
        assert (rate, sound.dtype, len(sound)) == (16000, np.int16, 80_000)
        assert second_heard(sound) == pytest.approx(seen_from[item.id], abs=0.02)
        assert (item.duration, item.phases, item.category) == (5.0, (), "hdtf")


def test_the_commands_of_the_page(corpus, tmp_path, monkeypatch, capsys):
    """The videos of the system are those that were filmed."""
    pytest.importorskip("jinja2")
    monkeypatch.chdir(tmp_path)
    Path("HDTF").symlink_to(corpus)
    Path("results").symlink_to("hdtf_bench/real")
    (block,) = re.findall(r"```bash\n(.*?)```", SECTION, re.S)
    make, jobs, measure = [shlex.split(line)[1:] for line in block.splitlines()]
    for command in ([*make, "--workers", "0"], jobs, measure):
        assert actavatar(*command) == 0, command
    job = json.loads(Path("jobs.jsonl").read_text().splitlines()[0])
    assert job["num_frames"] == 125 and job["prompt"]["phases"] == []
    assert "| 2 of 2 clips" in capsys.readouterr().out
    again = write_hdtf_bench("HDTF", "hdtf_bench", progress=False)
    assert again.counts() == {"kept": 2, "skipped: no clip": 1}


def test_what_cannot_be_a_bench(corpus, tmp_path):
    with pytest.raises(InputError, match="lies among the videos, and what is made would be read as one"):
        write_hdtf_bench(corpus, corpus / "bench")
    lists = hdtf(tmp_path, annotion_time=TIMES)
    with pytest.raises(InputError, match="has none of the 3 clips of the test list"):
        write_hdtf_bench(lists, tmp_path / "bench")
