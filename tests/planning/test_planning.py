"""Planning: names, chips, collectives read off XLA's text, what is tried; and real compiles where compilers are."""

import dataclasses
import importlib.util
import json
import math
from types import SimpleNamespace
from unittest.mock import Mock

import jax
import pytest

from actavatar_jax import planning
from actavatar_jax.errors import InputError
from actavatar_jax.models import presets
from actavatar_jax.models.execution import Execution
from actavatar_jax.parallel.mesh import make_mesh
from actavatar_jax.planning import chips, meshes, planner, program, topology
from actavatar_jax.planning.chips import GIB
from actavatar_jax.planning.collectives import Collective, collectives, device_groups
from actavatar_jax.planning.planner import Memory, Plan
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


# ---- names and chips


@pytest.mark.parametrize(
    ("name", "chip", "shape", "slices"),
    [
        ("v5e:4x4", "v5e", "4x4", 1),
        ("v6e:2x4", "v6e", "2x4", 1),
        ("v5p:8x8x4", "v5p", "8x8x4", 1),
        ("2x v5p:2x2x2", "v5p", "2x2x2", 2),
        ("tpu7x:2x2x1", "tpu7x", "2x2x1", 1),
        ("4xH100:8", "h100", "8", 4),
    ],
)
def test_topology_names(name, chip, shape, slices):
    place = topology.parse(name)
    assert (place.chip.name, place.shape, place.slices) == (chip, shape, slices)
    assert topology.parse(str(place)) == place


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("v5p", "accepted is a TPU slice such as v5e:4x4"),
        ("v9:2x2", "accepted is a TPU slice such as v5e:4x4"),
        ("0xv5e:4x4", "accepted is"),
        ("v5e:3x5", "v5e comes as 2x2, 2x4, 4x4"),
        ("v5p:4x4x6", "and multiples of 4x4x4"),
        ("v5p:4x4", "v5p comes as"),
        ("h100:16", "h100 comes as 1 to 8; more of them are several nodes"),
    ],
)
def test_what_does_not_exist_is_told_with_what_does(name, message):
    with pytest.raises(InputError, match=f"There is no topology.*{message}"):
        topology.parse(name)


def test_chips_have_the_figures_of_their_sources():
    table = chips.CHIPS
    assert table["v5p"].peak == 459e12 and table["v5p"].memory == int(95.74 * GIB)
    # 1200 GB/s in both directions over six links: 200 GB/s sent along an axis, on two of them.
    assert (table["v5p"].link, table["v5e"].link, table["v6e"].link) == (200e9, 100e9, 200e9)
    assert table["tpu7x"].link == 100e9  # two devices share a chip's links
    assert table["h200"].memory == pytest.approx(0.92 * 141 * GIB)


@pytest.mark.parametrize(("where", "extra"), [("v5p:2x2x2", "tpu"), ("h100:8", "cuda")])
def test_a_missing_compiler_is_named_with_the_extra_that_brings_it(where, extra, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=rf"pip install actavatar-jax\[{extra}\]"):
        topology.devices(topology.parse(where))


# ---- collectives

SCAN = """HloModule jit_step, num_partitions=8, input_output_alias={ {}: (0, {}, may-alias) }

%add.1 (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%all-reduce-scatter.1 (x: f32[1024,1024]) -> f32[256,1024] {
  %x = f32[1024,1024]{1,0:T(8,128)} parameter(0)
  %all-reduce.7 = f32[1024,1024]{1,0:T(8,128)} all-reduce(%x), replica_groups={{0,2,4,6},{1,3,5,7}}, to_apply=%add.1
  ROOT %slice = f32[256,1024]{1,0:T(8,128)} dynamic-slice(%all-reduce.7, %x), dynamic_slice_sizes={256,1024}
}

%body (state: (s32[], f32[256,1024])) -> (s32[], f32[256,1024]) {
  %state = (s32[]{:T(128)}, /*index=1*/f32[256,1024]{1,0:T(8,128)S(1)}) parameter(0)
  %gathered = bf16[4,1024]{1,0:T(8,128)(2,1)} all-gather(%state), replica_groups=[4,2]<=[8], dimensions={0}
  %start = (f32[64]{0}, f32[64]{0}, u32[]{:S(2)}) collective-permute-start(%gathered), source_target_pairs={{0,1},{1,0}}
  %end = f32[64]{0} collective-permute-done(%start), metadata={op_name="calls=%all-reduce-scatter.1"}
  %fused = f32[256,1024]{1,0} fusion(%end), kind=kCustom, calls=%all-reduce-scatter.1, metadata={op_name="x"}
  ROOT %next = (s32[], f32[256,1024]) tuple(%state, %fused)
}

%condition (state: (s32[], f32[256,1024])) -> pred[] {
  %limit = s32[]{:T(128)} constant(30)
  %state = (s32[], f32[256,1024]) parameter(0)
  %counter = s32[] get-tuple-element(%state), index=0
  ROOT %less = pred[]{:T(512)} compare(%counter, %limit), direction=LT, metadata={op_name="constant(7)"}
}

ENTRY %main (p: f32[256,1024]) -> f32[256,1024] {
  %p = f32[256,1024]{1,0} parameter(0)
  %loop = (s32[], f32[256,1024]) while(%p), condition=%condition, body=%body
  %known = (s32[], f32[256,1024]) while(%p), body=%body, backend_config={"known_trip_count":{"n":"2"}}
  %both = (f32[8]{0}, f32[24]{0}) all-reduce(%p, %p), replica_groups={}, to_apply=%add.1
  %begun = ((f32[16]{0}, f32[4]{0}), (f32[32]{0}, f32[8]{0})) all-gather-start(%p, %p), replica_groups=[4,2]<=[8]
  %done = (f32[32]{0}, f32[8]{0}) all-gather-done(%begun)
  ROOT %out = f32[256,1024]{1,0} get-tuple-element(%loop), index=1
}
"""


def test_collectives_count_as_often_as_their_loops_turn():
    found = {(c.kind, c.across): c for c in collectives(SCAN, devices=8, slices=2)}
    turns = 30 + 2
    assert {key: c.count for key, c in found.items()} == {
        ("all-gather", False): turns + 1,
        ("all-reduce", True): 1,
        ("collective-permute", False): turns,
        ("reduce-scatter", True): turns,
    }
    assert found["all-gather", False].bytes == turns * 4 * 1024 * 2 / 2 + 40 * 4 / 2
    assert found["all-reduce", True].bytes == 32 * 4 * 2 * 7 / 8
    assert found["collective-permute", False].bytes == turns * 64 * 4
    assert found["reduce-scatter", True].bytes == turns * 4 * 2**20 * 3 / 4


def test_what_slices_exchange_through_their_hosts():
    send = (
        "ENTRY %main (p: f32[8]) -> f32[8] {\n"
        "  %send.6 = (f32[512,8]{1,0}, u32[], token[]) send(%p), channel_id=2, is_host_transfer=true, "
        'frontend_attributes={_xla_megascale_target="{1,2}x{0:3}",_xla_megascale_transfer_type="ALL_REDUCE"}\n'
        "  %send-done.6 = token[] send-done(%send.6), channel_id=2, is_host_transfer=true\n}\n"
    )
    assert collectives(send, devices=8, slices=2) == [Collective("all-reduce", True, 1, 512 * 8 * 4 * 2 / 2)]


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("replica_groups={{0,2},{1,3}}, dimensions={0}", [[0, 2], [1, 3]]),
        ("replica_groups={}, to_apply=%add", [[0, 1, 2, 3]]),
        ("replica_groups=[2,2]<=[4], x", [[0, 1], [2, 3]]),
        ("replica_groups=[2,2]<=[2,2]T(1,0), x", [[0, 2], [1, 3]]),
        ("replica_groups=mesh['a'=2,'b'=2] {'a'}, x", [[0, 2], [1, 3]]),
        ("replica_groups=mesh['a'=2,'b'=2], device_ids=([2,2]T(1,0)) {'b'}, x", [[0, 2], [1, 3]]),
        ("replica_groups=mesh['a'=4] {'a':(1)2}, x", [[0, 2], [1, 3]]),
        ("replica_groups=mesh['a'=4] {'a':(2)2}, x", [[0, 1], [2, 3]]),
    ],
)
def test_groups_of_devices_in_every_form(text, groups):
    assert device_groups(text, 4).tolist() == groups


def test_the_compiler_says_what_a_program_needs_when_it_is_too_large():
    error = (
        "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory ... (596.05G) exceeds available HBM (15.75G)."
    )
    assert planner.too_large(error) == int(596.05 * GIB)
    used = "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space hbm. Used 45.50G of"
    assert planner.too_large(used + " 31.25G hbm.") == int(45.5 * GIB)
    assert planner.too_large("INTERNAL: Used 45.50G of patience") is None


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


def test_the_command_prints_a_table_and_advice_and_stores_everything(eight, monkeypatch, tmp_path, capsys):
    def planned(workload, where, mesh):
        topology.parse(where)
        parts = workload.training.micro_batches
        return made((1, 8, 1), 50 // parts, parts=parts)

    monkeypatch.setattr(planning, "plan_training", planned)
    monkeypatch.setattr(planning, "advise", lambda workload, failed: meshes.advise(workload, failed, planned))
    stored = tmp_path / "plans.json"
    arguments = ("--config", "configs/stage2.py", "--topology", "v5p:2x2x2", "--mesh", "1,8,1", "--json", stored)
    assert actavatar("plan", *arguments) == 1  # what was asked for does not fit
    told = capsys.readouterr().out
    assert "does not fit" in told and "--config.micro_batches=5" in told
    assert [one["fits"] for one in json.loads(stored.read_text())] == [False, False, False, False, True]
    assert actavatar("plan", *arguments, "--search") == 2
    assert actavatar("plan", "--config", "configs/stage2.py", "--topology", "moon:2x2") == 2


def test_memory_is_what_is_alive_at_once(monkeypatch):
    """Temporaries of a TPU program add up to more than that."""
    sizes = {"argument": 8, "temp": 24, "output": 9, "alias": 7, "generated_code": 1, "host_temp": 5}
    stats = SimpleNamespace(peak_memory_in_bytes=20, **{f"{n}_size_in_bytes": size for n, size in sizes.items()})
    monkeypatch.setattr(planner, "collectives", lambda *_: ())
    lowered = Mock(spec=jax.stages.Lowered)
    lowered.compile.return_value = SimpleNamespace(memory_analysis=lambda: stats, as_text=lambda: "")
    memory, found = planner._compile(lowered, chips.CHIPS["v5p"], 8, 1)
    assert memory == Memory(peak=21, arguments=8, temporaries=12, output=9, alias=7, host=5) and found == ()


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
