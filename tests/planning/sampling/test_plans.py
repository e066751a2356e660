"""Plans of a video: the pipeline's own programs, the arithmetic of memory, advice, sentences, the command."""

import dataclasses
import importlib.util
import json

import jax
import pytest

from actavatar_jax.diffusion.sampling import Sampling
from actavatar_jax.errors import InputError
from actavatar_jax.pipeline import ActAvatarPipeline
from actavatar_jax.planning import sampling, topology
from actavatar_jax.planning.chips import CHIPS, GIB
from actavatar_jax.planning.sampling.plan import DISK, Measured, Plan
from actavatar_jax.planning.sampling.program import Place, Programs
from actavatar_jax.puppets.recipe import SHIPPED
from actavatar_jax.weights.components import COMPONENTS
from actavatar_jax.weights.folder import Defaults
from actavatar_jax.weights.residence import DEVICE, HOST
from tests.commands import actavatar, refused

SHORT = {"steps": 4, "num_frames": 13, "height": 64, "width": 64, "text_guidance": 2.0, "audio_guidance": 2.0}


def workload(preset="tiny", options=None, **how):
    return sampling.Workload(sampling.System.of_preset(preset), Sampling(**(options or SHORT)), **how)


# ---- what is planned


@pytest.mark.parametrize(("dtype", "quantize"), [("float32", None), ("bfloat16", "int8")])
def test_parts_are_those_that_the_pipeline_loads(dtype, quantize):
    work = sampling.Workload(sampling.System.of_folder(SHIPPED), Sampling(), dtype, quantize=quantize)
    pipe = ActAvatarPipeline.from_pretrained(SHIPPED, dtype, quantize=quantize)
    for name in COMPONENTS:
        part = pipe.transformer if name == "transformer" else getattr(pipe.encoders, name)
        assert work.network(name) == part.network
        shapes = jax.tree.map(lambda x: (x.shape, x.dtype), work.params(name))
        assert shapes == jax.tree.map(lambda x: (x.shape, x.dtype), part.params), name


def test_size_and_length_are_the_models_own_where_nobody_says():
    full = workload("wan22_ti2v_5b", {"steps": 40})
    assert full.size == (704, 1280) and full.sampling.num_frames == 125 and full.grid == (32, 44, 80)
    assert sampling.Workload(sampling.System.of_folder(SHIPPED), Sampling()).size == (128, 128)
    with pytest.raises(InputError, match="The size 720x1280 does not fit; height and width must be multiples of 32"):
        workload("wan22_ti2v_5b", {"height": 720, "width": 1280})
    with pytest.raises(InputError, match='There is no preset "big"; there are: wan22_ti2v_5b'):
        sampling.System.of_preset("big")
    with pytest.raises(InputError, match="accepted is float32, bfloat16"):
        workload(dtype="float64")


def calls(work) -> dict[str, int]:
    made = [one for make in Programs(work, Place()).makers.values() for one in make()]
    return {one.name: one.times for one in made}


def test_a_video_takes_these_programs():
    once = {"first frame": 1, "text": 2, "speech": 1, "conditions": 1, "decoding": 1}
    assert calls(workload()) == once | {"step": 4}
    assert calls(workload(watched=False)) == once | {"sampling": 1}
    part = workload(options=SHORT | {"guidance_interval": (0.5, 0.95)})
    found = calls(part)
    assert found.keys() - once.keys() == {"step", "step without guidance", "conditions without guidance"}
    assert found["step"] == part.guidance.guided(part.sigmas[:-1]).sum() == 4 - found["step without guidance"]


@pytest.mark.parametrize("rate", [16, 25])
def test_speech_is_as_long_as_the_frames(rate):
    (speech,) = Programs(workload(options=SHORT | {"rate": rate}), Place()).speech()
    *_, samples, frames = speech.arguments
    assert samples.shape == (13 * 16000 // rate,) and frames == 13


def test_skipped_steps_are_not_counted():
    path = ((1.0, 0.0), (0.9, 0.01), (0.5, 0.02), (0.1, 1.0))
    system = dataclasses.replace(sampling.System.of_preset("tiny"), defaults=Defaults(velocity_path=path))
    work = sampling.Workload(system, Sampling(**SHORT | {"steps": 20, "skip": 0.3}))
    assert len(work.sigmas) - 1 < 20 and calls(work)["step"] == len(work.sigmas) - 1


# ---- the arithmetic

WEIGHTS = {"transformer": 11, "text_encoder": 10, "audio_encoder": 1, "vae": 3}


def made(inside=None, *, capacity=100, weights=WEIGHTS, size=(704, 1280), frames=125, quantize=None, **fields) -> Plan:
    """A plan in GiB whose programs take `inside` besides weights."""
    inside = {"text_encoder": 0, "audio_encoder": 0, "transformer": 4, "vae": 15} | (inside or {})
    names = {"text_encoder": "text", "audio_encoder": "speech", "transformer": "step", "vae": "decoding"}
    stages = names | {"transformer": "sampling"}
    programs = tuple(
        Measured(stages[part], names[part], part, 40 if part == "transformer" else 1, int(size * GIB), 0.5, 10.0)
        for part, size in inside.items()
    )
    given = {"where": "h100:1", "mesh": None, "size": size, "frames": frames}
    given |= {"at_once": frames, "tokens": 28160, "branches": 2}
    given |= {"dtype": "bfloat16", "quantize": quantize, "attention": "cudnn", "capacity": int(capacity * GIB)}
    given |= {"weights": {part: int(size * GIB) for part, size in weights.items()}, "stored": 25 * GIB}
    return Plan(**given | {"programs": programs} | fields)


def test_parts_stay_as_long_as_every_program_has_room_beside_them():
    roomy = made()
    assert set(roomy.residences.values()) == {DEVICE}
    assert roomy.peak == 40 * GIB and roomy.worst.name == "decoding" and roomy.headroom == 60 * GIB

    # Text leaves at 32: then decoding has 15 beside 15. At 24 the transformer has to leave for it as well.
    assert [made(capacity=32).residences[part] for part in ("text_encoder", "vae")] == [HOST, DEVICE]
    tight = made(capacity=24)
    assert set(tight.residences.values()) == {HOST}
    assert tight.peak == 18 * GIB and tight.fits
    assert {one.name: tight.total(one) // GIB for one in tight.programs} == {
        "text": 10, "speech": 1, "step": 15, "decoding": 18
    }  # fmt: skip
    assert not made(capacity=17).fits
    cut = made(capacity=24, mesh=(1, 1, 2))  # over a mesh nothing leaves
    assert set(cut.residences.values()) == {DEVICE} and cut.peak == 40 * GIB


def test_seconds_are_those_of_all_runs():
    one = made()
    assert one.seconds == 43 * 0.5 and one.load_seconds == pytest.approx(25 * GIB / 1e9)
    stored = one.to_dict()
    assert stored["programs"][3]["total"] == one.peak and stored["fits"] and json.dumps(stored)


@pytest.fixture
def here(monkeypatch):
    """Devices of this machine in the place of any cluster."""
    monkeypatch.setattr(topology, "devices", lambda place: jax.devices()[:1])


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(topology, "devices", lambda place: [0, 1])


@pytest.mark.slow
def test_a_small_plan_by_hand(here):
    one = sampling.plan_sampling(workload(attention="xla"), "h100:1", memory="1GB")
    assert one.capacity == 10**9 and one.fits and one.attention == "xla"
    by_name = {program.name: program for program in one.programs}
    # Conditions, and latents with the solver's three: what a step takes besides weights cannot be less.
    latents = 4 * 4 * 4 * 4 * 8 * 4
    assert latents < by_name["step"].inside < 100 * latents
    # Of so little the weights take longest: those that a step reads, at the bandwidth of the chip.
    assert 0.2 < by_name["step"].seconds * CHIPS["h100"].bandwidth / one.weights["transformer"] <= 1
    assert one.seconds == pytest.approx(sum(p.times * p.seconds for p in one.programs))
    small = sampling.plan_sampling(workload(attention="xla", quantize="int8"), "h100:1", memory="1GB")
    assert small.weights["transformer"] < 0.8 * one.weights["transformer"] and small.stored == one.stored


@pytest.mark.slow
def test_all_steps_in_one_program_take_what_single_ones_do():
    options = SHORT | {"guidance_interval": (0.5, 0.95)}
    watched, at_once = (
        sampling.plan_here(workload(options=options, watched=watched), memory="1GB", first="sampling")
        for watched in (True, False)
    )
    inside = max(p.inside for p in watched.programs if p.stage == "sampling")
    # Its parameters are arguments twice, for steps with guidance and without; they count once.
    [scan] = [p.inside for p in at_once.programs if p.stage == "sampling"]
    assert inside / 2 < scan < 2 * inside + watched.weights["transformer"] // 4


def test_what_is_asked_for_first_remains_alone_if_it_does_not_fit():
    one = sampling.plan_here(workload(), memory="0.1MB", first="decoding")
    assert [program.stage for program in one.programs] == ["decoding"] and not one.fits


def test_several_devices_need_a_mesh(two_gpus):
    with pytest.raises(InputError, match="h100:2 has 2 devices; give a mesh"):
        sampling.plan_sampling(workload(), "h100:2")


# ---- what is tried


def tried(failed, fits, work=None):
    """(quantize, size, frames) of what `advise` tries."""
    made_for = lambda w: made(  # noqa: E731
        capacity=100 if fits(w) else 1, size=w.size, frames=w.sampling.num_frames, quantize=w.quantize
    )
    full = work or workload("wan22_ti2v_5b", {"steps": 40})
    return [(p.quantize, p.size, p.frames) for p in sampling.advise(full, failed, made_for)]


def test_quantized_weights_are_tried_where_they_can_help():
    asked = (704, 1280), 125
    assert tried(made({"transformer": 99}, capacity=10), lambda w: True) == [("int8", *asked)]
    decoding = tried(made(capacity=10), lambda w: False)
    assert [quantize for quantize, *_ in decoding] == [None, None]  # no weights of the VAE are


def test_of_sizes_and_lengths_the_least_is_tried_first_and_the_most_that_fits_found():
    failed = made(capacity=10)
    assert tried(failed, lambda w: False) == [(None, (352, 640), 125), (None, (704, 1280), 29)]
    half = tried(failed, lambda w: w.size[0] < 704 or w.sampling.num_frames < 70)
    assert half == [
        (None, (352, 640), 125), (None, (512, 960), 125),
        (None, (704, 1280), 29), (None, (704, 1280), 93), (None, (704, 1280), 61),
    ]  # fmt: skip


def test_of_a_model_that_was_trained_on_one_size_no_other_is_tried():
    shipped = sampling.Workload(sampling.System.of_folder(SHIPPED), Sampling(num_frames=77))
    assert tried(made(capacity=10), lambda w: True, shipped) == []


def test_more_devices_share_the_frames(monkeypatch):
    monkeypatch.setattr(topology, "devices", lambda place: [0] * int(place.shape))
    asked = []

    def plan(where, mesh):
        asked.append((where, mesh))
        if mesh[2] == 2:
            raise InputError("frames do not divide")
        return made(where=where, mesh=mesh, capacity=100 if mesh[2] > 4 else 1)

    plans = list(sampling.advise_devices(made(capacity=10), plan))
    assert asked == [("h100:2", (1, 1, 2)), ("h100:4", (1, 1, 4)), ("h100:8", (1, 1, 8))] and plans[-1].fits


# ---- sentences


def test_the_verdict_names_all_that_fits():
    asked = made(capacity=10)
    small, larger, large = (
        made(capacity=20, size=(side, 640), quantize="int8", inside={"vae": inside})
        for side, inside in ((352, 2), (384, 15), (704, 99))
    )
    cut = made(where="h100:2", mesh=(1, 1, 2), capacity=50)
    assert sampling.verdict([asked, small, large, larger, cut]) == (
        "it fits with --quantize int8 --height 384 --width 640 (2.0 GiB left), "
        "or with --topology h100:2 --mesh 1,1,2 (10.0 GiB left)"
    )
    assert sampling.verdict([asked, asked]) == "nothing that was tried fits: 18.0 GiB at least"


def test_a_video_in_chunks_is_told_by_their_length():
    asked, cut = made(capacity=10), made(capacity=50, at_once=29)
    told = sampling.describe(cut).splitlines()[0]
    assert told.startswith("h100:1: 704x1280 pixels, 125 frames by 29 (28160 tokens)")
    assert "125 frames by 29 takes" in sampling.summary(cut) and "125 by 29" in sampling.compare([cut])
    assert sampling.verdict([asked, cut]).startswith("it fits with --chunk-frames 29 (")


def test_a_plan_is_a_table():
    told = sampling.describe(made(capacity=24)).splitlines()
    assert told[0].startswith("h100:1: 704x1280 pixels, 125 frames (28160 tokens), 2 branches, bfloat16")
    rows = [line.split() for line in told]
    assert ["transformer", "11.0", "host"] in rows and ["step", "40", "4.0", "15.0", "0.500"] in rows
    assert any(line.startswith("peak") and "18.0 of 24.0 GiB, decoding: fits, 6.0 left" in line for line in told)
    assert "26.8 s for 25.0 GiB, if they come at 1 GB/s" in told[-2]


@pytest.fixture
def cache():
    """Commands that plan keep no programs; other tests do."""
    yield
    jax.config.update("jax_enable_compilation_cache", True)


def test_the_command_plans_advises_and_stores(cache, monkeypatch, tmp_path, capsys):
    def planned(work, where, mesh=None, memory="auto", first=None):
        small = work.size[0] < 704
        return made(capacity=24 if small else 10, size=work.size, frames=work.sampling.num_frames, where=where)

    monkeypatch.setattr(sampling, "plan_sampling", planned)
    monkeypatch.setattr(topology, "devices", lambda place: [0] * int(place.shape))
    stored = tmp_path / "plans.json"
    arguments = ("plan", "sample", "--topology", "h100:1", "--dtype", "bfloat16", "--json", stored)
    assert actavatar(*arguments) == 1
    told = capsys.readouterr().out
    assert "It fits with --height 512 --width 960 (6.0 GiB left)." in told
    assert [one["fits"] for one in json.loads(stored.read_text())][:3] == [False, True, True]
    assert actavatar(*arguments, "--height", 352, "--width", 640) == 0
    refused(capsys, "Give either --model or --preset", *arguments, "--model", SHIPPED, "--preset", "tiny")


# ---- real compiles

GPU = any(importlib.util.find_spec(f"jax_cuda{version}_plugin") for version in (12, 13))
TPU = importlib.util.find_spec("libtpu") is not None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "mesh"),
    [
        pytest.param("h100:1", None, marks=pytest.mark.skipif(not GPU, reason="needs JAX's CUDA plugin (extra cuda)")),
        pytest.param("h100:2", "1,1,2", marks=pytest.mark.skipif(not GPU, reason="needs JAX's CUDA plugin")),
        pytest.param("v6e:1", None, marks=pytest.mark.skipif(not TPU, reason="needs libtpu (extra tpu)")),
    ],
)
def test_a_video_compiles_for_machines_that_are_not_here(where, mesh):
    one = sampling.plan_sampling(workload(dtype="bfloat16"), where, mesh)
    assert one.fits and len(one.programs) == 6 and all(program.seconds > 0 for program in one.programs)
    assert DISK * one.load_seconds == one.stored
