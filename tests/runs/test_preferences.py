"""docs/preferences.md as it stands there, on a tiny model: pairs by a program that scores, and a training with them."""

import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from actavatar_jax.models import PRESETS
from actavatar_jax.runs import training
from actavatar_jax.runs.settings import read_config
from actavatar_jax.runs.small_world import make_model
from actavatar_jax.weights import load, save
from data_pipelines.shards import open_dataset
from tests.commands import actavatar, refused
from tests.data import tiny_models
from tests.media.sounds import encode, tones
from tests.test_pipeline import FRAMES, SIZE, clip

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "preferences.md").read_text()
MAKE, TRAIN = (block.replace("\\\n", " ") for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL))
SCORE = "import sys; from actavatar_jax.media import load_video; print(load_video(sys.argv[1]).frames.mean())"


@pytest.fixture
def files(tmp_path, monkeypatch, quick_compilation):
    """The current folder has what the page's commands name: a model, jobs, and a program that scores."""
    monkeypatch.chdir(tmp_path)
    make_model(
        Path("model"), [clip(seed) for seed in range(4)], ["dull"], preset=PRESETS["tiny"], size=SIZE, num_frames=FRAMES
    )
    part = load("model", "transformer")  # a fresh head is zero, and so is its velocity
    part.params["head"]["out"]["kernel"][...] = 0.1 * np.random.default_rng(0).standard_normal(
        part.params["head"]["out"]["kernel"].shape, np.float32
    )
    save("model", "transformer", part.config, part.params)
    Path("score.py").write_text(SCORE)
    rows = []
    for number in range(2):
        Image.fromarray(clip(number)[0]).save(f"face{number}.png")
        encode(tmp_path / f"speech{number}.wav", tones(16000, 0.36, 300 + 100 * number), 16000)
        prompt = "A square. [0-0.2s] Moves."
        rows.append(
            {"image": f"face{number}.png", "audio": f"speech{number}.wav", "prompt": prompt, "out": f"{number}.mp4"}
        )
    Path("jobs.jsonl").write_text("".join(json.dumps(row | {"steps": 2}) + "\n" for row in rows))
    return tmp_path


def command(text):
    program, *arguments = shlex.split(text)
    assert program == "actavatar"
    return [argument.replace("python score.py", f"{sys.executable} score.py") for argument in arguments]


@pytest.mark.slow
def test_the_page(files):
    assert actavatar(*command(MAKE)) == 0
    scores = {
        path.stem: json.loads(path.read_text())["score"] for path in sorted(Path("pairs/candidates").glob("*.json"))
    }
    assert len(scores) == 8
    bucket = f"{SIZE[0]}x{SIZE[1]}x{FRAMES}"
    for half, choose in (("preferred", max), ("rejected", min)):
        source = open_dataset(Path("pairs") / half / bucket).source
        assert [source[i]["clip"] for i in range(len(source))] == [b"speech0.wav", b"speech1.wav"]
        for number in range(2):
            own = {name: score for name, score in scores.items() if name.startswith(f"{number:05d}-")}
            chosen = choose(own, key=own.get)
            kept = np.load(f"pairs/candidates/{chosen}.npy")
            np.testing.assert_allclose(source[number]["latents"].astype(np.float32), kept, atol=0.02, rtol=0.01)

    before = {path: path.stat().st_mtime_ns for path in Path("pairs/candidates").iterdir()}
    tiny_models.person(Path("models/person.onnx"))
    tiny_models.pose(Path("models/pose.onnx"))
    assert actavatar(*command(MAKE), "--models", "models") == 0  # nothing is made again
    regions = [open_dataset(Path("pairs") / half / bucket).source[0]["regions"] for half in ("preferred", "rejected")]
    assert regions[0].shape == kept.shape[:3] and np.array_equal(*regions)
    assert before == {path: path.stat().st_mtime_ns for path in Path("pairs/candidates").iterdir()}

    program, script, *arguments = shlex.split(TRAIN)
    assert (program, script) == ("python", "launch/train.py")
    settings = [argument for argument in arguments if argument.startswith("--config.")]
    assert any(argument.startswith("--config.preference.folder=") for argument in settings)
    few = ["--config.steps=4", "--config.data.source=synthetic", "--config.data.batch_size=2", "--config.log_every=2"]
    few += [f"--config.data.bucket=({SIZE[0]}, {SIZE[1]}, {FRAMES})", "--config.preference.batch_size=2"]
    few += ["--config.preference.region_weight=3.0"]
    few += ["--config.preference.every=2", "--config.model.remat=none", "--config.precision=float32"]
    config = read_config(str(ROOT / "configs" / "stage2.py"), settings + few)
    training.run_training(config, Path("runs/preferred"))
    rows = [json.loads(line) for line in Path("runs/preferred/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4]
    assert all({"loss", "preference_loss"} <= row.keys() for row in rows)
    assert rows[0]["preference_loss"] == pytest.approx(np.log(2), abs=0.1)


def test_what_does_not_fit_is_one_sentence(files, capsys):
    make = ("preferences", "make", "pairs", "--model", "model", "--jobs", "jobs.jsonl")
    refused(capsys, "A pair is of at least 2 seeds; 1 are given", *make, "--score", "x {video}", "--seeds", 1)
    refused(capsys, "accepted is a command with {video} in it", *make, "--score", "lips")
    refused(capsys, "program './lips' cannot be run: No such file", *make, "--score", "./lips {video}")
    refused(capsys, "it printed 'good', which is no number", *make, "--score", "echo good {video} good")
    refused(capsys, "failed with code 1", *make, "--score", f"{sys.executable} -c exit(1) {{video}}")
    refused(capsys, "nothing to prefer", *make, "--score", "sh -c 'echo 7' {video}", "--seeds", 2)
    assert not Path("pairs/preferred").exists()
