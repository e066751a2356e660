"""The demo and the scoring command, on a small model with random weights and an untrained judge."""

import dataclasses
import functools
import json
import shlex

import jax
import numpy as np
import pytest
from PIL import Image

from actavatar_jax import Sampling, functional
from actavatar_jax.media import load_video, probe
from actavatar_jax.models import PRESETS
from actavatar_jax.puppets import demo
from actavatar_jax.puppets import recipe as puppets
from actavatar_jax.puppets.judge import Judge, JudgeConfig
from actavatar_jax.puppets.judge.network import PuppetJudge
from actavatar_jax.puppets.pictures.enlarge import enlarged
from actavatar_jax.puppets.world.clips import ACTIONS, World, make_clip
from actavatar_jax.runs.small_world import make_model
from actavatar_jax.weights import folder as folders
from tests.commands import actavatar, refused

pytestmark = pytest.mark.slow

WORLD = World(frames=33)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "model"
    clips = [make_clip(seed, WORLD) for seed in range(20_000, 20_004)]
    texts = [clip.prompt.render() for clip in clips]
    size = {"size": (64, 64), "num_frames": WORLD.frames}
    make_model(folder, [clip.frames for clip in clips], texts, preset=PRESETS["tiny"], **size)
    quick = Sampling(steps=2, text_guidance=2.0, audio_guidance=2.0)
    defaults = dataclasses.replace(folders.load_defaults(folder), sampling=quick, world=dataclasses.asdict(WORLD))
    folders.save_index(folder, defaults)
    return folder


@functools.cache
def random_judge():
    config = JudgeConfig(tuple(ACTIONS))
    draw = jax.jit(functional.init, static_argnums=(0, 1), compiler_options=functional.RUN_ONCE)
    return Judge(config, draw(PuppetJudge, config, jax.random.key(0)))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(demo, "load_judge", random_judge)
    monkeypatch.setattr(puppets, "load_judge", random_judge)


def test_a_video_with_sound_a_preview_two_pictures_and_a_score(model, tmp_path, capsys, caplog):
    out = tmp_path / "new" / "demo"
    assert actavatar("demo", "--model", model, "--out", out) == 0
    assert "sampling 33 frames" in caplog.text
    shown = capsys.readouterr().out
    assert "Phase-2" in shown and "Phase-3" not in shown and "score: hit" in shown and "1 clip" in shown
    assert sorted(path.name for path in out.iterdir()) == ["attention.png", "demo.mp4", "demo.png", "demo.webp"]
    assert all(str(path) in shown for path in out.iterdir()) and demo.what_next(model, 33 / 25) in shown
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    video = load_video(out / "demo.mp4")
    assert video.frames.shape == (33, 512, 512, 3) and probe(out / "demo.mp4").has_audio
    assert np.abs(video.audio).max() > 0.05

    sheet = np.asarray(Image.open(out / "demo.png")).astype(int)
    first = next(clip for clip in (make_clip(n, WORLD) for n in range(100)) if len(clip.cues) == 2)
    cell = sheet[56 : 56 + 192, 130 : 130 + 192]
    assert np.abs(cell - enlarged(first.frames[:1], 192)[0]).mean() < 1 < np.abs(cell - cell[:, ::-1]).mean()
    with Image.open(out / "demo.webp") as preview:
        assert preview.n_frames == 33 and preview.width > 512
    plot = np.asarray(Image.open(out / "attention.png")).reshape(-1, 3)
    assert len(np.unique(plot, axis=0)) > 20


def test_own_words_are_said_and_done(model, tmp_path, capsys):
    prompt = tmp_path / "prompt.json"
    phases = [{"start": 0.2, "end": 1.2, "action": "Waves with the left hand."}]
    prompt.write_text(json.dumps({"base": "A host.", "phases": phases}))
    arguments = ("--say", "Guten Tag.", "--voice", "german", "--prompt", prompt, "--seed", 5)
    assert actavatar("demo", "--model", model, "--out", tmp_path / "out", *arguments) == 0
    shown = capsys.readouterr().out
    assert "says (german): Guten Tag." in shown and "Waves with the left hand." in shown


def test_what_it_says_can_be_done_next_works(model, tmp_path, capsys):
    again, scores = (shlex.split(line)[1:] for line in demo.what_next(model, WORLD.frames / 25).splitlines()[-2:])
    assert scores == ["evaluate", "puppets", "--model", str(model), "--items", "16"]
    assert actavatar(*again, "--out", tmp_path) == 0
    shown = capsys.readouterr().out
    assert "Phase-3 [0.8-1.2s]" in shown and "says (english-us): Good morning." in shown


def test_a_prompt_without_a_base_gets_the_presenter(model):
    given = demo.read_prompt(WORLD, "[0-1s] Nods.", 3)
    assert len(given.base) > 20 and given.phases[0].action == "Nods."
    clip = demo.choose_clip(WORLD, 3, "Hello.", "[0-1s] Nods.", None)
    assert (clip.voice, clip.prompt, clip.identity) == ("english-us", given, make_clip(3, WORLD).identity)


def test_seeds_before_the_last_unseen_one_serve_when_there_is_none_after_it():
    assert len(demo.choose_clip(WORLD, demo.UNSEEN.stop - 1, None, None, None).cues) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--say", "\U0001f600\U0001f680"], "nothing that can be spoken"),
        (["--say", ""], "empty"),
        (["--say", "word " * 500], "500 words"),
        (["--say", "\u4f60\u597d", "--voice", "english-us"], "cannot speak"),
        (["--say", "\u4f60\u597d"], "english-us"),
        (["--voice", "klingon"], "klingon"),
        (["--prompt", "A host. [0-1s] Juggles three balls."], "nearest they know"),
        (["--prompt", "A host. [0-1s] Waves."], "'Waves.'"),
        (["--prompt", "A host. [0-4s] Nods."], "past the end"),
        (["--prompt", "A host. [1.33-1.4s] Nods."], "holds no frame"),
        (["--prompt", ""], "base text is empty"),
        (["--prompt", "absent.json"], "absent.json"),
        (["--prompt", "A host. " + " ".join(f"[0.{k}-1s] Nods." for k in range(5))], "5 phases"),
        (["--seed", "-1"], "-1"),
        (["--seed", "10000"], "0 to 9999"),
        (["--model", "absent"], "launch/puppets.py --config configs/puppets.py --workdir runs/puppets --ship"),
    ],
)
def test_input_that_does_not_fit_is_one_sentence(model, tmp_path, capsys, arguments, words):
    refused(capsys, words, "demo", "--model", model, "--out", tmp_path / "a" / "b", *arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["file", "file/deeper", "x" * 300])
def test_an_output_that_cannot_be_written_is_refused_before_any_work(tmp_path, capsys, monkeypatch, place):
    monkeypatch.setattr(demo, "world_of", lambda model: pytest.fail("worked before it looked"))
    (tmp_path / "file").write_text("in the way")
    refused(capsys, "cannot be written", "demo", "--model", tmp_path, "--out", tmp_path / place)
    refused(
        capsys, "cannot be written", "evaluate", "puppets", "--model", tmp_path, "--out", tmp_path / place / "r.json"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_evaluate_prints_the_table_and_keeps_the_report(model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(puppets.dataset, "draw", lambda world, seeds: (make_clip(seed, world) for seed in seeds))
    out = tmp_path / "scores" / "report.json"
    assert actavatar("evaluate", "puppets", "--model", model, "--items", 2, "--out", out) == 0
    assert "temporal IoU" in capsys.readouterr().out
    assert json.loads(out.read_text())["clips"] == 2
    assert [path.name for path in out.parent.iterdir()] == ["report.json"]
    assert actavatar("evaluate", "puppets", "--model", model, "--out", tmp_path) == 2  # a folder is in the way
