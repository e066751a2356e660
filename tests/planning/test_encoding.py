"""Plans of encoding: the programs that `encode` runs, the arithmetic, the table, the command."""

import json

import jax
import numpy as np
import pytest

from actavatar_jax.diffusion.sampling import Sampling
from actavatar_jax.encoders import Encoders, encoders
from actavatar_jax.planning import encoding, sampling, topology
from actavatar_jax.planning.chips import GIB
from actavatar_jax.planning.sampling.plan import Measured
from actavatar_jax.planning.sampling.program import Place
from actavatar_jax.prompt import StructuredPrompt
from actavatar_jax.puppets.recipe import SHIPPED
from data_pipelines.shards import RecordMaker
from tests.commands import actavatar, refused


def workload(frames=13, side=128):
    size = {"num_frames": frames, "height": side, "width": side}
    return sampling.Workload(sampling.System.of_folder(SHIPPED), Sampling(**size))


def shapes(arguments):
    return [(x.shape, np.dtype(x.dtype)) for x in jax.tree.leaves(arguments) if hasattr(x, "dtype")]


def test_a_record_takes_these_programs(monkeypatch):
    """With these arguments: the shapes of the parameters and of what they are given."""
    called = {}

    def watch(name, program):
        def seen(network, params, *inputs):
            called[name] = network, shapes((params, inputs))
            return program(network, params, *inputs)

        seen.__name__ = name
        monkeypatch.setattr(encoders, name, seen)

    for name in ("encode_video", "encode_text", "encode_speech"):
        watch(name, getattr(encoders, name))
    frames, samples = np.zeros((13, 128, 128, 3), np.uint8), np.zeros(13 * 640, np.float32)
    RecordMaker(Encoders.from_folder(SHIPPED))("clip", 0, frames, samples, StructuredPrompt("A presenter."))
    made = [one for make in encoding.EncodingPrograms(workload(), Place()).makers.values() for one in make()]
    assert [(one.name, one.times) for one in made] == [("video", 1), ("text", 1), ("speech", 1)]
    planned = {one.function.__name__: (one.arguments[0], shapes(one.arguments[1:])) for one in made}
    assert planned == called


def planned(capacity):
    program = {"part": "vae", "times": 1, "compile_seconds": 1.0}
    programs = (
        Measured("video", "video", inside=4 * GIB, seconds=1.5, **program),
        Measured("text", "text", inside=GIB, seconds=0.3, **program),
    )
    weights = {"text_encoder": 10 * GIB, "audio_encoder": GIB, "vae": 2 * GIB}
    return encoding.EncodingPlan("h100:1", (704, 1280), 125, "bfloat16", capacity * GIB, weights, programs)


def test_all_parts_stay_and_the_largest_program_counts():
    assert planned(24).peak == 17 * GIB and planned(17).fits and not planned(16).fits
    told = encoding.describe(planned(24), windows=6000).splitlines()
    assert told[0] == "h100:1: windows of 704x1280 pixels and 125 frames, bfloat16"
    assert any(line.startswith("peak") and line.endswith("17.0 of 24.0 GiB: fits, 7.0 left") for line in told)
    assert told[-2].split() == ["a", "window", "1.800", "s", "or", "more"]
    assert told[-1].split()[:3] == ["6,000", "windows", "3.0"]
    assert "does not fit, 1.0 too many" in encoding.describe(planned(16), 1)


@pytest.fixture
def here(monkeypatch):
    """An H100 whose programs this machine compiles."""
    monkeypatch.setattr(topology, "devices", lambda place: jax.devices("cpu"))
    monkeypatch.setattr(encoding, "ABSENT", {"cuda": {}})
    yield
    jax.config.update("jax_enable_compilation_cache", True)


def test_the_command(here, tmp_path, capsys):
    file = tmp_path / "plan.json"
    arguments = ("plan", "encode", "--topology", "h100:1", "--model", SHIPPED, "--frames", 13)
    assert actavatar(*arguments, "--windows", 1000, "--json", file) == 0
    assert "1,000 windows" in capsys.readouterr().out
    plan = json.loads(file.read_text())
    assert plan["fits"] and plan["size"] == [128, 128] and plan["frames"] == 13
    assert plan["weights"].keys() == {"text_encoder", "audio_encoder", "vae"}
    vae = sum(np.prod(shape) for shape, _ in shapes(workload().params("vae"))) * 4
    assert plan["weights"]["vae"] == vae
    (video,) = (one for one in plan["programs"] if one["name"] == "video")
    assert 0 < video["seconds"] < 1 and video["inside"] >= 13 * 128 * 128 * 3
    assert actavatar(*arguments, "--memory", "0.01GB") == 1
    refused(capsys, "Give either --model or --preset", *arguments, "--preset", "tiny")
    refused(capsys, "4k", *arguments[:-1], 12)
