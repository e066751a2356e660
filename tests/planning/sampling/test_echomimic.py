"""Plans of EchoMimicV3's videos: the pipeline's own programs and parts, chunks, the command."""

import jax
import pytest

from actavatar_jax.echomimic import EchoMimicSampling, inputs, tasks
from actavatar_jax.echomimic import pipeline as room
from actavatar_jax.encoders import encoders
from actavatar_jax.errors import InputError
from actavatar_jax.planning import sampling, topology
from actavatar_jax.planning.flops import program_flops
from actavatar_jax.planning.sampling.echomimic import EchoMimicPrograms
from actavatar_jax.planning.sampling.program import Place
from tests.commands import refused
from tests.echomimic.tiny import CLIP, CONFIGS, SPEECH, VAE, picture, pipeline, speech

SHORT = {"steps": 3, "chunk_frames": 9, "overlap": 4, "height": 48, "width": 32}


def workload(variant, **options):
    text = pipeline(variant).encoders.text_encoder.config
    configs = {"transformer": CONFIGS[variant], "vae": VAE, "image_encoder": CLIP, "audio_encoder": SPEECH}
    configs |= {"text_encoder": text}
    return sampling.EchoMimicWorkload(variant, EchoMimicSampling(**SHORT | options), configs=configs)


@pytest.mark.parametrize("variant", ["preview", "flash"])
def test_parts_are_those_of_the_pipeline(variant):
    work, pipe = workload(variant), pipeline(variant)
    assert set(work.parts) == {"transformer", "text_encoder", "image_encoder", "audio_encoder", "vae"}
    for name in work.parts:
        part = pipe.transformer if name == "transformer" else getattr(pipe.encoders, name)
        assert (work.network(name).module, work.network(name).config) == (part.module, part.config)
        shapes = jax.tree.map(lambda x: x.shape, work.params(name))
        assert shapes == jax.tree.map(lambda x: x.shape, part.params), name


@pytest.mark.parametrize("variant", ["preview", "flash"])
def test_programs_are_called_with_what_the_pipeline_calls_them_with(variant, monkeypatch, quick_compilation):
    seen = {}

    def watch(place, name, label):
        original = getattr(place, name)

        def called(network, params, *arguments):
            shapes = [getattr(x, "shape", x) for x in arguments if x is not None]
            seen.setdefault(label, []).append((network.module, shapes))
            return original(network, params, *arguments)

        monkeypatch.setattr(place, name, called)

    for place, name, label in (
        (tasks, "encode_known", "known frames"),
        (inputs, "see_picture", "picture"),
        (inputs, "encode_text", "text"),
        (inputs, "encode_speech" if variant == "flash" else "encode_whole", "speech"),
        (room, "embed", "conditions"),
        (encoders, "decode_video", "decoding"),
    ):
        watch(place, name, label)
    steps, pipe = [], pipeline(variant)
    face = {} if variant == "flash" else {"face": (8, 40, 8, 24)}
    work = workload(variant, num_frames=15, solver="unipc", text_guidance=3.0)
    video = pipe(picture(1), speech(15), "Hello.", sampling=work.sampling, callback=steps.append, **face)
    assert len(video.frames) == 15

    programs = EchoMimicPrograms(work, Place())
    made = [one for make in programs.makers.values() for one in make()]
    planned = {}
    for one in made:
        if one.name != "step":
            wanted = [getattr(x, "shape", x) for x in one.arguments[2:] if x is not None]
            planned.setdefault(one.name, []).extend([(one.arguments[0].module, wanted)] * one.times)
    assert planned == seen
    longest, last = (one for one in made if one.name == "step")
    assert longest.times + last.times == len(steps) == 3 * 3 and work.chunks == ((2, 9), (1, 5))
    assert longest.flops > last.flops and {one.part for one in made} == set(work.parts)
    for step in (longest, last):
        assert 0.95 < step.flops / program_flops(step.function.trace(*step.arguments).jaxpr) < 1.05


def test_what_is_planned_where_nothing_is_said():
    preview, flash = sampling.EchoMimicWorkload(), sampling.EchoMimicWorkload("flash")
    assert preview.size == (768, 768) and preview.chunks == ((1, 113),) and preview.grid == (29, 96, 96)
    assert flash.chunks == ((1, 81),) and (preview.branches, flash.branches) == (3, 2)
    assert preview.changed(text_guidance=1.0).branches == 1 and preview.multiple == 16
    longer = preview.changed(num_frames=200)
    assert longer.chunks == ((1, 113), (1, 97)) and longer.at_once == 113
    shorter = longer.shortened(57)
    assert (shorter.at_once, shorter.sampling.num_frames, shorter.grid) == (57, 200, (15, 96, 96))
    assert preview.shortened(113) is None and preview.shortened(9) is None  # it knows 8 of the one before
    with pytest.raises(InputError, match="leave windows and teacache out"):
        sampling.EchoMimicWorkload("preview", EchoMimicSampling(windows=True))
    with pytest.raises(InputError, match="The variant is 'turbo'; accepted is preview or flash"):
        sampling.EchoMimicWorkload("turbo")


@pytest.mark.slow
def test_a_small_plan_and_what_is_tried_where_it_does_not_fit(monkeypatch):
    monkeypatch.setattr(topology, "devices", lambda place: jax.devices()[:1])
    work = workload("preview", num_frames=14)
    one = sampling.plan_sampling(work, "h100:1", memory="1GB")
    assert one.fits and one.branches == 3 and one.seconds > 0 and set(one.weights) == set(work.parts)
    assert "image_encoder" in sampling.describe(one)
    tight = sampling.plan_sampling(work, "h100:1", memory="0.01MB", first="decoding")
    tried = list(sampling.advise(work, tight, lambda w: sampling.plan_sampling(w, "h100:1", memory="0.01MB")))
    assert not tight.fits and {(plan.size, plan.frames) for plan in tried} >= {((16, 16), 14)}


def test_the_command(monkeypatch, tmp_path, capsys):
    asked = {}

    def plan(work, where, mesh, memory):
        asked.update(work=work, where=where, memory=memory)
        raise InputError("Enough.")

    monkeypatch.setattr(sampling, "plan_sampling", plan)
    command = ("plan", "sample", "--system", "echomimic", "--variant", "flash", "--topology", "h100:1")
    refused(capsys, "Enough", *command, "--dtype", "bfloat16", "--memory", "16GB", "--height", 512, "--width", 512)
    work = asked["work"]
    assert (work.variant, work.dtype, work.size, asked["memory"]) == ("flash", "bfloat16", (512, 512), "16GB")
    refused(capsys, "Enough", *command, "--frames", 100, "--chunk-frames", 29)
    assert asked["work"].at_once == 29 and asked["work"].sampling.num_frames == 100
    own = ("plan", "sample", "--chunk-frames", 29, "--topology", "h100:1")
    refused(capsys, "The system actavatar has no use for --chunk-frames", *own)
    refused(capsys, "has no use for --rate", *command, "--rate", 16)
    refused(capsys, "has no use for --variant", "plan", "sample", "--variant", "flash", "--topology", "h100:1")
    refused(capsys, 'There is no system "other"', "plan", "sample", "--system", "other", "--topology", "h100:1")
