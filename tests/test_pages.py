"""The commands of docs/lora.md and docs/sampling.md, as they stand there, on a small model; sizes are of the shapes."""

import functools
import json
import math
import re
import shlex
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from actavatar_jax import functional
from actavatar_jax.media import load_video, probe
from actavatar_jax.models import PRESETS, Execution
from actavatar_jax.planning import sampling as planning_sampling
from actavatar_jax.planning import topology
from actavatar_jax.planning import training as planning_training
from actavatar_jax.runs.small_world import make_model
from actavatar_jax.training.lora import RATES, LoraSettings, abstract_params
from actavatar_jax.weights import COMPONENTS, load, save
from actavatar_jax.weights.quantized import forms_of, quantize_kernel
from tests.commands import actavatar, refused
from tests.media.sounds import encode, tones
from tests.planning.sampling.test_plans import made as a_video
from tests.planning.training.test_plans import made as a_step
from tests.test_pipeline import FRAMES, SIZE, clip

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "lora.md").read_text()
PROMPT = "A square. [0-0.2s] Moves."

# Said after what the page says, so that it counts instead.
TINY = {
    "sample": ("--steps", 2, "--dtype", "float32"),
    "train": (
        *("--config.steps=1", "--config.data.source=synthetic", "--config.data.bucket=(64, 64, 9)"),
        *("--config.data.batch_size=2", "--config.model.remat=none", "--config.precision=float32"),
    ),
}


@pytest.fixture
def files(tmp_path, monkeypatch, quick_compilation):
    """The current folder has what the pages' commands name: a model, a portrait, speech and a prompt."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    frames = [clip(seed) for seed in range(4)]
    make_model(Path("model"), frames, [PROMPT, "dull"], preset=PRESETS["tiny"], size=SIZE, num_frames=FRAMES)
    part = load("model", "transformer")  # a fresh head is zero, and so is its velocity
    part.params["head"]["out"]["kernel"][...] = 0.1 * np.random.default_rng(0).standard_normal(
        part.params["head"]["out"]["kernel"].shape, np.float32
    )
    save("model", "transformer", part.config, part.params)
    Image.fromarray(frames[0][0]).save("face.png")
    encode(Path("speech.wav"), tones(16000, 0.36, 300), 16000)
    phase = {"start": 0, "end": 0.2, "action": "Moves."}
    Path("prompt.json").write_text(json.dumps({"base": "A square.", "phases": [phase]}))


def commands(page, start="actavatar"):
    """(name, arguments) of the page's commands that start so, in order."""
    return [
        (name, arguments)
        for block in re.findall(r"```bash\n(.*?)```", page, re.S)
        for line in block.replace("\\\n", "").splitlines()
        if line.startswith(start)
        for _, name, *arguments in [shlex.split(line)]
    ]


@pytest.mark.slow
def test_the_commands_of_sampling_run_one_after_the_other(files, capsys):
    page = commands((ROOT / "docs" / "sampling.md").read_text())
    assert [name for name, _ in page] == [*["sample"] * 6, "convert", *["sample"] * 2, "calibrate", "sample"]
    Path("TIE").symlink_to("model")
    made, facts = [], []
    for name, arguments in page:
        here = () if name == "convert" else ("--steps", 4)
        here += ("--seconds", 0.6) if "20" in arguments else ()
        assert actavatar(name, *arguments, *here) == 0, arguments
        made.append({})
        for path in sorted(Path().glob("*.mp4")):
            made[-1][path.stem] = load_video(path).frames
            assert made[-1][path.stem].shape[1:] == (*SIZE, 3)
            facts.append((len(made) - 1, path.stem, (info := probe(path)).frames, info.fps))
            path.unlink()
    assert facts == [
        (0, "talk-seed0", FRAMES, 25), (0, "talk-seed1", FRAMES, 25),
        (1, "talk-seed3", FRAMES, 25), (1, "talk-seed7", FRAMES, 25), (2, "talk", FRAMES, 25),
        (3, "talk", 15, 25), (4, "talk", 9, 25),  # in parts
        (5, "talk", FRAMES, 25), (7, "talk", FRAMES, 16), (8, "talk", FRAMES, 25), (10, "talk", FRAMES, 25),
    ]  # fmt: skip
    alone, again, mesh, _, _, relay, *_ = made
    assert len({video.tobytes() for videos in (alone, again) for video in videos.values()}) == 4
    assert np.abs(mesh["talk"].astype(int) - alone["talk-seed0"]).mean() < 0.1
    assert np.abs(relay["talk"].astype(int) - alone["talk-seed0"]).max() > 0  # a bias, and a text without anchors
    tie = json.loads(Path("tie/transformer/config.json").read_text())["actavatar"]
    assert (tie["phase_time"], tie["latent_rate"]) == ("tie", 4.0)
    assert re.search(r"skip 0.4: \d of 4 steps", capsys.readouterr().out)


@pytest.mark.slow
def test_a_path_that_is_none_is_not_stored(files, capsys):
    part = load("model", "transformer")
    part.params["head"]["out"]["kernel"][...] = 0
    save("model", "transformer", part.config, part.params)
    before = Path("model/model_index.json").read_text()
    arguments = dict(commands((ROOT / "docs" / "sampling.md").read_text()))["calibrate"]
    refused(capsys, "path of its velocity is none", "calibrate", *arguments, "--steps", 4)
    assert Path("model/model_index.json").read_text() == before


@pytest.mark.slow
def test_the_commands_of_lora_run_one_after_the_other(files):
    width = PRESETS["tiny"].transformer.width
    pair = {"A": np.full((2, width), 0.1, np.float32), "B": np.full((width, 2), 0.1, np.float32)}
    for name in ("style", "turbo"):
        tensors = {f"transformer.blocks.0.attn1.to_q.lora_{side}.weight": x for side, x in pair.items()}
        save_file(tensors, f"{name}.safetensors")

    page = commands(PAGE)
    assert [name for name, _ in page] == ["sample", "sample", "train", "sample"]
    for name, arguments in page:
        assert actavatar(name, *arguments, *TINY[name]) == 0, arguments
    for name in ("small.mp4", "styled.mp4", "mine.mp4"):
        assert load_video(name).frames.shape == (FRAMES, *SIZE, 3)


@pytest.mark.parametrize(("row", "part"), [("transformer", "transformer"), ("umT5-XXL", "text_encoder")])
def test_sizes_are_those_of_the_shapes(row, part):
    kind, config = COMPONENTS[part][0], getattr(PRESETS["wan22_ti2v_5b"], part)
    forms, whole, packed = forms_of(kind, "int8"), 0, 0
    for name, leaf in functional.flatten(functional.abstract(kind.module, config)).items():
        size = leaf.size * (4 if re.fullmatch(kind.float32, name) else 2)
        whole += size
        if forms.values([name]):
            leaf = jax.eval_shape(functools.partial(quantize_kernel, form="int8"), leaf)
            size = leaf.values.size + 4 * leaf.scale.size
        packed += size
    assert re.search(rf"\| {row} \| ([\d.]+) GB \| ([\d.]+) GB \|", PAGE).groups() == (
        f"{whole / 1e9:.2f}",
        f"{packed / 1e9:.2f}",
    )


def test_what_is_said_of_training():
    kind, config = COMPONENTS["transformer"][0], PRESETS["wan22_ti2v_5b"].transformer
    everything = functional.count(functional.abstract(kind.module, config))
    network = functional.Network(kind.module, config, Execution("bfloat16"))
    shapes = functional.flatten(abstract_params(network, LoraSettings(16, 16.0)))
    rates = RATES.values(shapes)
    learn = sum(leaf.size for name, leaf in shapes.items() if rates[name])
    frozen = sum(leaf.size * leaf.dtype.itemsize for name, leaf in shapes.items() if not rates[name])
    assert f"{learn / 1e6:.1f} million" in PAGE
    gigabytes = [learn * 16 / 1e9, frozen / 1e9, everything * 16 / 1e9]  # float32: weights, two moments, gradients
    assert re.search(
        r"take ([\d.]+) GB beside the frozen ([\d.]+) GB; training\s+everything takes ([\d.]+) GB", PAGE
    ).groups() == tuple(f"{size:.1f}" for size in gigabytes)


def test_the_plans_of_the_pages_are_of_machines_and_options_that_there_are(monkeypatch):
    """Without their compilers: what is planned is built and checked, and then not compiled."""
    asked = []

    def plan_sampling(work, where, mesh=None, memory="auto", first=None):
        make_device_grid(where, mesh)
        asked.append((where, mesh, memory, work.quantize, work.size, work.branches))
        return a_video(capacity=24)

    def plan_training(workload, where, mesh):
        make_device_grid(where, mesh)
        asked.append((where, mesh, workload.network.config == PRESETS["wan22_ti2v_5b"].transformer))
        return a_step((1, 8, 1), 5)

    def make_device_grid(where, mesh):
        place = topology.parse(where)
        assert mesh is None or math.prod(map(int, mesh.split(","))) % place.slices == 0

    monkeypatch.setattr("actavatar_jax.cli.planning._plan_only", lambda jax: None)
    monkeypatch.setattr(planning_sampling, "plan_sampling", plan_sampling)
    monkeypatch.setattr(planning_training, "plan_training", plan_training)
    monkeypatch.setattr(planning_training, "search", lambda work, where, report: [plan_training(work, where, None)])
    text = "".join((ROOT / page).read_text() for page in ("README.md", "docs/clusters.md"))
    found = [arguments for name, arguments in commands(text, "actavatar plan") if name == "plan"]
    for arguments in found:
        assert actavatar("plan", *arguments) == 0, arguments
    assert asked == [
        ("v5p:2x2x2", "1,8,1", True),
        ("4xh100:8", None, True),
        ("h100:1", None, "auto", None, (704, 1280), 2),
        ("h100:1", None, "24GB", "int8", (704, 1280), 2),
        ("h200:8", "1,2,4", "auto", None, (704, 1280), 2),
        ("h100:1", None, "24GB", None, (768, 768), 3),
    ]
