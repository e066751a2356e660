"""Plans of a training: what is tried, the program, the command; and real compiles where compilers are."""

import dataclasses
import importlib.util
import json
import math

import jax
import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.models import presets
from actavatar_jax.models.execution import Execution
from actavatar_jax.parallel.mesh import make_mesh
from actavatar_jax.planning import topology
from actavatar_jax.planning import training as planning
from actavatar_jax.planning.compiling import Memory
from actavatar_jax.planning.training import meshes, planner, program
from actavatar_jax.planning.training.planner import Plan
from actavatar_jax.runs import training
from actavatar_jax.runs.settings import read_config
from actavatar_jax.runs.workload import workload_of
from tests.commands import actavatar


def settings(file="configs/stage2.py", **changes):
    """A config with changed settings, whose dots are written as two underscores."""
    config = read_config(file)
    config.update_from_flattened_dict({name.replace("__", "."): value for name, value in changes.items()})
    return config


def workload(file="configs/stage2.py", **changes):
    return workload_of(settings(file, **changes))


# ---- what is tried


def made(mesh, peak, *, remat="full", parts=1, link=1.0, capacity=10) -> Plan:
    return Plan(
        "v5p:2x2x2", mesh, 40, parts, remat, "splash", capacity, Memory(peak), (), 10**15,
        compute_seconds=2.0, link_seconds=link, network_seconds=0.0, compile_seconds=60.0,
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Device:
    id: int
    platform: str = "cuda"
    process_index: int = 0


@pytest.fixture
def eight(monkeypatch):
    """A cluster of eight devices without a compiler for it."""
    monkeypatch.setattr(topology, "devices", lambda place: [Device(i) for i in range(8)])


def test_every_mesh_that_divides_is_searched_and_the_fastest_that_fits_comes_first(eight):
    speeds = {(1, 8, 1): 1.0, (1, 4, 2): 3.0, (2, 4, 1): 0.5}
    told = []
    plans = planning.search(
        workload(),
        "v5p:2x2x2",
        report=lambda done, total: told.append((done, total)),
        planner=lambda _, where, mesh: made(mesh, 20 if mesh[0] > 2 else 5, link=speeds.get(mesh, 9.0)),
    )
    # Batch 40, 24 heads and 32 latent frames divide by every mesh of eight.
    assert len(plans) == 10 and told[-1] == (10, 10)
    assert [one.mesh for one in plans[:3]] == [(2, 4, 1), (1, 8, 1), (1, 4, 2)]
    assert [one.fits for one in plans] == [True] * 7 + [False] * 3
    assert planning.compare(plans).splitlines()[1].split()[0] == "2,4,1"


def test_no_mesh_divides_is_one_sentence(eight):
    small = workload(data__batch_size=3, data__bucket=(64, 64, 9))
    with pytest.raises(InputError, match=r"No mesh of v5p:2x2x2 divides a batch of 3 in 1 parts"):
        planning.search(small, "v5p:2x2x2", planner=lambda *_: None)


def attempts(failed, peak) -> list[Plan]:
    """What `advise` tries when the peak of a program is what `peak(mesh, remat, parts)` says."""

    def planner(workload, where, mesh):
        remat, parts = workload.network.execution.remat, workload.training.micro_batches
        return made(mesh, peak(mesh, remat, parts), remat=remat, parts=parts)

    return list(planning.advise(workload(model__remat=failed.remat), failed, planner))


def test_advice_tries_remat_then_meshes_then_micro_batches_and_stops_at_what_fits(eight):
    tried = attempts(made((8, 1, 1), 50, remat="none"), lambda mesh, remat, parts: 9 if remat == "full" else 20)
    assert [one.remat for one in tried] == ["attention", "offload", "full"] and tried[-1].fits

    tried = attempts(made((8, 1, 1), 50), lambda mesh, remat, parts: 9 if mesh[0] == 1 else 20)
    assert [one.mesh for one in tried] == [(1, 8, 1)]

    tried = attempts(made((1, 8, 1), 50), lambda mesh, remat, parts: (45 + mesh[2]) // parts)
    assert [one.mesh for one in tried] == [(1, 4, 2), (1, 2, 4), (1, 1, 8), (1, 4, 2), (1, 4, 2)]
    assert [one.micro_batches for one in tried] == [1, 1, 1, 2, 5] and tried[-1].fits
    assert "--config.mesh=1,4,2 --config.micro_batches=5" in planning.verdict(tried)

    tried = attempts(made((1, 8, 1), 50), lambda mesh, remat, parts: 60)
    assert not tried[-1].fits and planning.verdict(tried).startswith("Nothing that was tried fits")


# ---- the program


def test_a_plan_is_for_the_full_size_model_and_the_batch_of_the_config():
    paper = workload().changed(platform="tpu")
    assert paper.network.config == presets.PRESETS["wan22_ti2v_5b"].transformer
    assert paper.network.execution == Execution(dtype="bfloat16", remat="full", attention="auto", platform="tpu")
    assert paper.grid == (32, 44, 80) and not paper.backbone_is_frozen
    batch = paper.batch()
    assert batch["latents"].shape == (40, 32, 44, 80, 48) and batch["audio"].shape == (40, 125, 12, 768)

    first = workload("configs/stage1.py", model__attention="chunked", steps="2 epochs")
    assert first.network.execution.attention == "chunked" and first.backbone_is_frozen
    with pytest.raises(InputError, match="A bucket of 720x1280 cannot be coded: both sides must be multiples of 32"):
        workload(data__bucket=(720, 1280, 125))


@pytest.fixture(scope="module")
def here():
    """The lowered step of a tiny model on the devices of this machine."""
    return program.lower(
        workload("configs/stage2.py:runlocal", optim__ema_decay=0.9), make_mesh("1,1,1", jax.devices()[:1])
    )


def test_a_batch_is_what_the_loader_gives(here):
    config = settings("configs/stage2.py:runlocal")
    batches, _ = training.open_data(config, presets.PRESETS["tiny"].transformer)
    loaded = {name: jax.eval_shape(jax.device_put, value) for name, value in next(iter(batches)).items()}
    planned = workload_of(config).batch()
    assert {n: (x.shape, x.dtype) for n, x in loaded.items()} == {n: (x.shape, x.dtype) for n, x in planned.items()}


def test_nothing_but_the_step_is_lowered_and_state_is_given_back_in_place(here):
    arguments = jax.tree.leaves(here.args_info)
    count = presets.parameter_counts("tiny")
    scalars = sum(math.prod(leaf.shape) for leaf in arguments if leaf.donated)
    weights = count["backbone"] + count["adapter"] + count["phases"]
    assert 4 * weights <= scalars < 4 * weights + 20  # weights, two moments, the average, and a few counters


def test_a_step_of_pairs_is_planned_beside_the_other(eight, monkeypatch):
    """Of twice the videos, with the weights as they were before once more in the state; the larger of both decides."""
    pairs = {"preference__folder": "pairs", "preference__batch_size": 8}
    asked = workload("configs/stage2.py:runlocal", **pairs, data__batch_size=4, model__attention="chunked")
    assert workload("configs/stage2.py:runlocal").pairs == 0
    other = asked.of_pairs().batch()
    assert other["rejected"] == other["latents"] and other["latents"].shape[0] == 8 and "rejected" not in asked.batch()

    arguments = {}

    def measured(lowered, options):
        taken = [math.prod(leaf.shape) for leaf in jax.tree.leaves(lowered.args_info)]
        arguments[len(arguments)] = sum(taken)
        return Memory(100 * len(arguments)), None

    monkeypatch.setattr(topology, "devices", lambda place: jax.devices()[:1])
    monkeypatch.setattr(planner, "measure", measured)
    plan = planning.plan_training(asked, "h100:1", "1,1,1")
    count = presets.parameter_counts("tiny")
    weights = count["backbone"] + count["adapter"] + count["phases"]
    assert arguments[0] > 4 * weights, "weights, two moments, the reference"
    assert (plan.batch, plan.memory.peak, plan.pairs.batch, plan.peak) == (4, 100, 8, 200)
    one_video = plan.flops // 4
    assert 2 * 8 * one_video < plan.pairs.flops < 3 * 8 * one_video
    assert planning.describe(plan).count("batch") == 2
    small = dataclasses.replace(plan, capacity=150)
    assert not small.fits and small.headroom == -50 and "50" not in planning.describe(plan).splitlines()[0]


@pytest.fixture
def cache():
    """Commands that plan keep no programs; other tests do."""
    yield
    jax.config.update("jax_enable_compilation_cache", True)


def test_the_command_prints_a_table_and_advice_and_stores_everything(cache, eight, monkeypatch, tmp_path, capsys):
    def planned(workload, where, mesh):
        topology.parse(where)
        parts = workload.training.micro_batches
        return made((1, 8, 1), 50 // parts, parts=parts)

    monkeypatch.setattr(planning, "plan_training", planned)
    monkeypatch.setattr(planning, "advise", lambda workload, failed: meshes.advise(workload, failed, planned))
    stored = tmp_path / "plans.json"
    arguments = ("--config", "configs/stage2.py", "--topology", "v5p:2x2x2", "--mesh", "1,8,1", "--json", stored)
    assert actavatar("plan", "train", *arguments) == 1  # what was asked for does not fit
    told = capsys.readouterr().out
    assert "does not fit" in told and "--config.micro_batches=5" in told
    assert [one["fits"] for one in json.loads(stored.read_text())] == [False, False, False, False, True]
    assert actavatar("plan", "train", *arguments, "--search") == 2
    assert actavatar("plan", "train", "--config", "configs/stage2.py", "--topology", "moon:2x2") == 2


# ---- real compiles


def compiled_for(where, **changes):
    small = {"data__bucket": (64, 64, 13), "data__batch_size": 4}
    return planning.plan_training(workload("configs/stage2.py:runlocal", **small, **changes), where, "1,2,2")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs libtpu (extra tpu)")
def test_a_step_compiles_for_tpus_that_are_not_here():
    one = compiled_for("v5e:2x2", model__attention="chunked")
    found = {c.kind: c.count for c in one.collectives}
    assert found["all-to-all"] > 0 and found["all-gather"] > 0
    assert one.memory.output - one.memory.alias < 2**20 and one.fits
    assert 0 < one.memory.arguments < one.memory.peak


@pytest.mark.slow
@pytest.mark.skipif(
    not any(importlib.util.find_spec(f"jax_cuda{version}_plugin") for version in (12, 13)),
    reason="needs JAX's CUDA plugin (extra cuda)",
)
def test_a_step_compiles_for_gpus_that_are_not_here():
    one = compiled_for("h100:4")
    assert one.attention == "cudnn" and one.fits
    assert {c.kind for c in one.collectives} & {"all-to-all", "all-gather"}
