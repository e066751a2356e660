"""From a bench of puppets to a report by the commands of docs/evaluation.md, with the shipped weights."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import scipy.io.wavfile

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.bench import BenchItem, BenchPhase, read_bench, write_bench, write_jobs
from actavatar_jax.puppets.bench import write_puppet_bench
from actavatar_jax.puppets.world.clips import World, make_clip
from actavatar_jax.runs.jobs import read_jobs
from tests.commands import actavatar

ROOT = Path(__file__).resolve().parents[3]
SECTION = (ROOT / "docs" / "evaluation.md").read_text().partition("## Tried in a minute")[2].partition("\n## ")[0]
WORLD = World(side=32, frames=26)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_compilation")
def test_the_commands_of_the_page(tmp_path, monkeypatch, capsys):
    pytest.importorskip("jinja2")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "actavatar_jax").symlink_to(ROOT / "actavatar_jax")
    (block,) = re.findall(r"```bash\n(.*?)```", SECTION, re.S)
    commands = [shlex.split(line)[1:] for line in block.splitlines()]
    commands[0] += ["--items", "2"]
    for command in commands:
        assert actavatar(*command) == 0, command
    told = capsys.readouterr().out
    assert "movement inside windows over outside: " in told and "| 2 of 2 clips" in told
    assert "2 of 2 as they should; 0 not measured" in told
    metrics = json.loads(Path("report/report.json").read_text())["metrics"]
    energy = metrics["energy"]["figures"]
    assert energy["energy"]["value"] > 1.3 * energy["energy_shuffled"]["value"]
    assert metrics["psnr"]["figures"]["psnr"]["value"] > 20  # beside another clip's film it is 10.7 to 15.4


def test_a_bench_of_puppets_is_what_is_drawn(tmp_path):
    items = write_puppet_bench(tmp_path / "bench", [3, 4], WORLD)
    assert read_bench(tmp_path / "bench" / "bench.jsonl") == items
    clip = make_clip(3, WORLD)
    rate, sound = scipy.io.wavfile.read(items[0].audio)
    assert rate == 16000 and np.array_equal(sound, clip.audio)
    assert items[0].prompt == clip.prompt and items[0].transcript == clip.sentence
    assert items[0].duration == 26 / 25 and (tmp_path / "bench" / "real" / "puppet_000003.mp4").is_file()


def test_a_bench_can_be_moved_with_its_files(tmp_path):
    (item,) = write_puppet_bench(tmp_path / "here", [3], WORLD)
    (tmp_path / "here").rename(tmp_path / "there")
    (moved,) = read_bench(tmp_path / "there" / "bench.jsonl")
    assert moved.image.is_file() and moved.audio.is_file() and moved.image != item.image


def test_jobs_have_the_rate_and_as_many_frames_as_there_is_time_for(tmp_path):
    phase = BenchPhase(0.5, 2.0, "She nods.")

    def jobs(*asked):
        items = [
            BenchItem(f"{seconds}", Path("a.png"), Path("a.wav"), "A woman.", (phase,), seconds, fps, seed=7)
            for seconds, fps in asked
        ]
        write_jobs(items, tmp_path / "results", tmp_path / "jobs.jsonl")
        return [json.loads(line) for line in (tmp_path / "jobs.jsonl").read_text().splitlines()]

    rows = jobs((5.0, 25.0), (4.0, 25.0), (5.01, 16.0))
    assert [(row["num_frames"], row["rate"], row["seed"]) for row in rows] == [(125, 25, 7), (97, 25, 7), (77, 16, 7)]
    assert rows[0]["out"] == str(tmp_path / "results" / "5.0.mp4") and rows[0]["image"] == "a.png"
    assert rows[0]["prompt"] == {"base": "A woman.", "phases": [{"start": 0.5, "end": 2.0, "action": "She nods."}]}
    assert [job.options["rate"] for job in read_jobs(tmp_path / "jobs.jsonl", {})] == [25, 25, 16]
    with pytest.raises(InputError, match=r"'3\.0' asks for 30 frames a second; videos are made with 16 or 25"):
        jobs((3.0, 30.0))


def test_writing_is_the_inverse_of_reading(tmp_path):
    items = [
        BenchItem(
            "a", tmp_path / "a.png", tmp_path / "a.wav", "Älteres Haus.", (BenchPhase(0.0, 1.0, "Er nickt.", "head"),),
            fps=30.0, language="de", transcript="Ja.", category="nod", seed=3,
        )
    ]  # fmt: skip
    write_bench(items, tmp_path / "sub" / "bench.jsonl")
    (read,) = read_bench(tmp_path / "sub" / "bench.jsonl")
    assert read.image.resolve() == items[0].image and read.prompt == items[0].prompt
    assert (read.fps, read.language, read.transcript, read.category, read.seed) == (30.0, "de", "Ja.", "nod", 3)
