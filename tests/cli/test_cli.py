"""The command line from raw videos to a talking video, and one sentence for whatever does not fit."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from actavatar_jax.encoders import Encoders
from actavatar_jax.media import fit_image, load_image, load_video, probe
from actavatar_jax.puppets.world.clips import World, write_clips
from actavatar_jax.storage import locked_list
from actavatar_jax.weights import load_defaults
from actavatar_jax.weights.folder import save_index
from tests.commands import actavatar, refused

pytestmark = pytest.mark.slow

SAMPLE = ("--steps", "2", "--solver", "euler", "--frames", "9", "--height", "64", "--width", "64")
SHARDS = "memory://worlds/shards"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Drawn clips and everything that the commands make of them, up to a model trained for two steps; encoded clips lie
    on an object store."""
    root = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACTAVATAR_SCRATCH", str(root / "scratch"))
        make_world(root)
    return root


def make_world(root):
    write_clips(root / "videos", range(3), World(side=64, frames=13))
    (root / "videos" / "broken.mp4").write_bytes(b"not a video")
    assert actavatar("prepare", root / "videos", root / "clips", "--min-frames", 9, "--min-side", 64) == 2  # one fails
    size = ("--height", 64, "--width", 64, "--frames", 9)
    assert actavatar("init", root / "clips", root / "base", "--preset", "tiny", *size) == 0
    encode = ("--model", root / "base", "--frames", 9, "--buckets", "64x64")
    assert actavatar("encode", root / "clips", SHARDS, *encode) == 0
    Image.fromarray(load_video(root / "videos" / "puppet_000000.mp4").frames[0]).save(root / "face.png")
    job = {"image": root / "face.png", "audio": root / "videos" / "puppet_000001.mp4", "out": "first.mp4"}
    job = {key: str(value) for key, value in job.items()} | {"prompt": "A presenter.", "num_frames": 9}
    (root / "jobs.jsonl").write_text(json.dumps(job))
    overrides = (
        f"--config.model.folder={root / 'base'}", "--config.model.preset=", "--config.data.source=shards",
        f"--config.data.dirs=('{SHARDS}',)", "--config.steps=2", "--config.data.batch_size=2",
        f"--config.sample.jobs={root / 'jobs.jsonl'}", "--config.sample.every=2", "--config.sample.steps=2",
    )  # fmt: skip
    assert actavatar("train", "--config", "configs/stage2.py:runlocal", "--workdir", root / "run", *overrides) == 0


def inputs(world) -> list:
    return ["--model", world / "run" / "model", "--image", world / "face.png"]


def test_training_makes_sample_videos(world):
    assert load_video(world / "run" / "samples" / "0000002" / "first.mp4").frames.shape == (9, 64, 64, 3)


def test_prepare_reports_what_it_skipped(world):
    report = json.loads((world / "clips" / "report.json").read_text())
    assert report["counts"] == {"made": 3, "skipped: unreadable": 1} or sum(report["counts"].values()) == 4
    assert "broken.mp4" in json.dumps(report["skipped"])


def test_sample_writes_picture_and_sound_of_equal_length(world, tmp_path):
    out = tmp_path / "talk.mp4"
    speech = world / "videos" / "puppet_000001.mp4"
    prompt = "A presenter. [0-0.2s] Waves."
    assert actavatar("sample", *inputs(world), "--audio", speech, "--prompt", prompt, "--out", out, *SAMPLE) == 0
    video = load_video(out)
    assert video.frames.shape == (9, 64, 64, 3)
    assert len(video.audio) == 9 * 640
    assert probe(out).has_audio
    assert [p.name for p in tmp_path.iterdir()] == ["talk.mp4"]


def test_jobs_skip_finished_and_go_on_after_a_failure(world, tmp_path, capsys):
    audio = str(world / "videos" / "puppet_000001.mp4")
    face = str(world / "face.png")
    row = {"image": face, "audio": audio, "prompt": "A presenter."}
    rows = [
        row | {"out": str(tmp_path / "a.mp4")},
        row | {"out": str(tmp_path / "b.mp4"), "image": str(tmp_path / "absent.png")},
        row | {"out": str(tmp_path / "c.mp4"), "seed": 7},
    ]
    finished = (world / "videos" / "puppet_000002.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(finished)
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text("".join(json.dumps(r) + "\n" for r in rows))
    command = ("sample", "--model", world / "run" / "model", "--jobs", jobs, *SAMPLE)
    with locked_list(jobs):
        assert actavatar(*command) == 2
    assert "is being worked through by another process" in capsys.readouterr().err
    assert not (tmp_path / "c.mp4").exists()
    assert actavatar(*command) == 2
    assert "absent.png" in capsys.readouterr().err
    assert (tmp_path / "a.mp4").read_bytes() == finished
    assert not (tmp_path / "b.mp4").exists()
    assert load_video(tmp_path / "c.mp4").frames.shape == (9, 64, 64, 3)


def test_a_portrait_from_outside_the_models_world(world, tmp_path, capsys):
    model = shutil.copytree(world / "run" / "model", tmp_path / "model")
    foreign = tmp_path / "noise.png"
    blocks = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)
    Image.fromarray(blocks.repeat(16, axis=0).repeat(16, axis=1)).save(foreign)
    encoders = Encoders.from_folder(model)
    own, other = (
        encoders.strangeness(encoders.video(fit_image(load_image(path), 64, 64)[None]))
        for path in (world / "face.png", foreign)
    )
    save_index(model, dataclasses.replace(load_defaults(model), strangest_portrait=(own + other) / 2))
    assert own < other
    options = ("--audio", world / "videos" / "puppet_000001.mp4", "--prompt", "A presenter.", *SAMPLE)
    out = tmp_path / "x.mp4"
    single = ("sample", "--model", model, "--image", foreign, "--out", out, *options)
    refused(capsys, "noise.png is not of the world", *single)
    assert not out.exists()
    assert actavatar(*single, "--anyway") == 0 and out.exists()

    row = {"audio": str(world / "videos" / "puppet_000001.mp4"), "prompt": "A presenter.", "num_frames": 9}
    rows = {"own": {"image": str(world / "face.png")}, "forced": {"image": str(foreign), "anyway": True}}
    rows |= {"foreign": {"image": str(foreign)}}
    file = tmp_path / "jobs.jsonl"
    file.write_text(
        "\n".join(json.dumps(row | more | {"out": f"{tmp_path / name}.mp4"}) for name, more in rows.items())
    )
    assert actavatar("sample", "--model", model, "--jobs", file, *SAMPLE) == 2
    assert sorted(path.stem for path in tmp_path.glob("*.mp4")) == ["forced", "own", "x"]


def portrait(tmp_path, kind):
    path = tmp_path / "portrait.png"
    if kind == "text":
        path.write_text("hello")
    elif kind == "truncated":
        Image.fromarray(np.zeros((256, 256, 3), np.uint8)).save(path)
        path.write_bytes(path.read_bytes()[:60])
    else:
        Image.new("RGB", {"tiny": (8, 8), "strip": (20_000, 50)}[kind]).save(path)
    return path


@pytest.mark.parametrize("kind", ["text", "truncated", "tiny", "strip"])
def test_portraits_that_do_not_fit(world, tmp_path, capsys, kind):
    out = tmp_path / "o" / "x.mp4"
    audio = world / "videos" / "puppet_000001.mp4"
    model = world / "run" / "model"
    refused(
        capsys, "portrait.png", "sample", "--model", model, "--image", portrait(tmp_path, kind), "--audio", audio,
        "--prompt", "A presenter.", "--out", out, *SAMPLE,
    )  # fmt: skip
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--prompt", "A man. [2-1s] Waves."], "2-1"),
        (["--prompt", "A man. [0-9s] Waves."], "9"),
        (["--prompt", "A man.", "--frames", "10"], "4k + 1"),
        (["--prompt", "A man.", "--height", "60"], "multiples of 32"),
        (["--prompt", "A man.", "--solver", "magic"], "magic"),
        (["--prompt", "A man.", "--guidance", "loud"], "loud"),
        (["--prompt", "A man.", "--solver", "mean"], "steps=1"),
        (["--prompt", "A man.", "--seed", "-1"], "0 to 18446744073709551615"),
        (["--prompt", "A man.", "--out", "x.avi"], ".mp4"),
    ],
)
def test_options_that_do_not_fit(world, tmp_path, capsys, options, words):
    audio = world / "videos" / "puppet_000001.mp4"
    refused(capsys, words, "sample", *inputs(world), "--audio", audio, "--out", tmp_path / "x.mp4", *SAMPLE, *options)
    assert not list(tmp_path.iterdir())


def test_convert_there_and_back(world, tmp_path):
    out = tmp_path / "again"
    assert actavatar("convert", "to-torch", world / "run" / "model", out, "--layout", "diffusers") == 0
    names = [p.relative_to(out) for p in sorted(out.rglob("*.safetensors"))]
    assert names
    for name in names:
        assert (out / name).read_bytes() == (world / "run" / "model" / name).read_bytes()
