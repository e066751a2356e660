"""Videos that have no room on the device are refused before anything is loaded, with what would fit.

And nothing is compiled a second time.
"""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import jax
import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from actavatar_jax.diffusion.sampling import Sampling
from actavatar_jax.media import Video
from actavatar_jax.models import PRESETS
from actavatar_jax.pipeline import ActAvatarPipeline
from actavatar_jax.planning import sampling
from actavatar_jax.puppets.recipe import SHIPPED
from actavatar_jax.runs.jobs import Job, run_jobs
from actavatar_jax.runs.room import Room
from actavatar_jax.runs.small_world import make_model
from actavatar_jax.weights.folder import load_defaults
from tests.runs.counted import count_compiled

ROOT = Path(__file__).parents[2]


@pytest.fixture
def job(tmp_path):
    """job(name, **options): one video of files that are there."""
    Image.fromarray(np.full((64, 96, 3), 120, np.uint8)).save(tmp_path / "face.png")
    wavfile.write(tmp_path / "speech.wav", 16_000, np.zeros(16_000, np.int16))

    def make(name, **options) -> Job:
        files = (str(tmp_path / file) for file in ("face.png", "speech.wav"))
        return Job(*files, "A man. [0-0.3s] Nods.", str(tmp_path / f"{name}.mp4"), options)

    return make


@pytest.fixture
def loaded(monkeypatch):
    """How pipelines were loaded, and what they were called with; they make nothing."""
    seen = []

    class Nothing(ActAvatarPipeline):
        def __init__(self):
            pass

        def __call__(self, *inputs, **options):
            seen.append(options)
            return Mock(spec=Video)

    def load(folder, **loading):
        seen.append(loading)
        return Nothing()

    monkeypatch.setattr(ActAvatarPipeline, "from_pretrained", staticmethod(load))
    return seen


@pytest.fixture
def planned(monkeypatch):
    """What was planned: (size, frames, quantize). Long videos need int8."""
    seen = []

    def plan(work, mesh, memory, first=None):
        frames = work.sampling.num_frames
        seen.append((work.size, frames, work.quantize))
        inside = 10**9 if frames > 30 and not work.quantize else 10**6
        one = sampling.Measured("sampling", "step", "transformer", 1, inside, 0.0, 0.0)
        fields = {"where": "cpu", "mesh": None, "size": work.size, "frames": frames, "at_once": frames, "tokens": 80}
        fields |= {"branches": 2, "dtype": work.dtype, "quantize": work.quantize, "attention": "xla"}
        weights = dict.fromkeys(("transformer", "vae", "text_encoder", "audio_encoder"), 10**6)
        return sampling.Plan(**fields, capacity=10**8, weights=weights, stored=4 * 10**6, programs=(one,))

    monkeypatch.setattr(sampling, "plan_here", plan)
    return seen


def test_on_a_cpu_nothing_is_planned_unless_its_memory_is_given(job, loaded, planned):
    assert run_jobs(SHIPPED, [job("a", num_frames=77)], dtype="bfloat16") == 0
    assert planned == [] and loaded[0] == {"dtype": "bfloat16", "working": None}
    assert run_jobs(SHIPPED, [job("b", num_frames=13)], memory="100MB") == 0
    assert planned == [((128, 128), 13, None)]
    assert loaded[2]["working"]["transformer"] == 10**6


def test_what_has_no_room_is_refused_with_what_fits_and_the_others_go_on(job, loaded, planned, capsys):
    todo = [job("long", num_frames=77), job("short", num_frames=13)]
    assert run_jobs(SHIPPED, todo, memory="100MB") == 1
    [told] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "long.mp4: A video of 128x128 pixels and 77 frames takes 0.93 GiB of the device at its peak (step)" in told
    assert "there are 0.093; it fits with --quantize int8 (0.088 GiB left); " in told
    assert told.endswith("; --anyway samples it all the same.")
    assert len(loaded) == 2 and loaded[1]["num_frames"] == 13


def test_where_nothing_has_room_nothing_is_loaded(job, loaded, planned):
    assert run_jobs(SHIPPED, [job(name, num_frames=77) for name in "ab"], memory="100MB") == 2
    assert loaded == []
    assert planned.count(((128, 128), 77, None)) == 1  # alike


def test_anyway_is_not_even_planned(job, loaded, planned):
    assert run_jobs(SHIPPED, [job("a", num_frames=77, anyway=True)], memory="100MB") == 0
    assert planned == [] and loaded[1]["anyway"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("room") / "model"
    clips = np.random.default_rng(0).integers(0, 256, (8, 9, 64, 64, 3), np.uint8)
    make_model(folder, list(clips), ["A man."], preset=PRESETS["tiny"], size=(64, 64), num_frames=9)
    return folder


@pytest.fixture
def plain():
    """Programs without expensive passes, every one compiled anew."""
    jax.config.update("jax_disable_most_optimizations", True)
    jax.clear_caches()
    yield
    jax.config.update("jax_disable_most_optimizations", False)


CODERS = ("jit(encode_video)", "jit(encode_text)", "jit(encode_speech)", "jit(decode_video)")
SHORT = {"num_frames": 9, "height": 64, "width": 64, "steps": 4, "text_guidance": 2.0, "audio_guidance": 2.0}
PART = {"guidance_interval": (0.5, 0.95)}
STEPS = {"jit(_advance)": 2, "jit(embed_conditions)": 2}  # with guidance and without


def check(counts, programs):
    """All of these programs are compiled before anything is loaded, and none of them again."""
    expected = dict.fromkeys(CODERS, 1) | programs
    assert counts["before"].items() >= expected.items()
    assert {name: counts["in all"][name] for name in expected} == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("watched", "options", "programs"),
    [(True, PART, STEPS), (False, {}, {"jit(_integrate)": 1, "jit(embed_conditions)": 1})],
)
def test_nothing_is_compiled_twice(watched, options, programs, job, tiny, plain):
    check(count_compiled(tiny, job("a", **SHORT, **options), watched), programs)


@pytest.mark.slow
def test_nor_on_a_mesh(job, tiny):
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_PLATFORMS": "cpu",
    }  # fmt: skip
    line = json.dumps(dataclasses.asdict(job("a", **SHORT | PART | {"num_frames": 13})))
    command = [sys.executable, "-m", "tests.runs.counted", str(tiny), line, "1,2,2"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    check(json.loads(ended.stdout), STEPS)


def test_the_size_is_that_which_the_pipeline_chooses(job, planned, monkeypatch):
    free = dataclasses.replace(load_defaults(SHIPPED), sampling=Sampling(), area=128 * 192)
    room = Room(SHIPPED, watched=True, memory="1GB")
    room.system = dataclasses.replace(room.system, defaults=free)
    room.check(job("a").image, {"num_frames": 13})
    assert planned == [((128, 192), 13, None)]


def test_a_room_takes_what_pipelines_take():
    assert not Room(SHIPPED, watched=True, dtype="bfloat16", loras=["a.safetensors"], adapter=None).known
