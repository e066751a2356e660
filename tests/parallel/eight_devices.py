"""What eight devices compute, beside what one does, as JSON; `test_eight_devices.py` runs it in its own process.

XLA_FLAGS=--xla_force_host_platform_device_count=8 python -m tests.parallel.eight_devices training
"""

import dataclasses
import json
import logging
import re
import sys
import tempfile
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import actavatar_jax
from actavatar_jax import ActAvatarPipeline, Sampling, functional
from actavatar_jax.diffusion import sample, sample_noise, sigma_grid
from actavatar_jax.diffusion.guidance import guidance
from actavatar_jax.diffusion.sampler import _advance
from actavatar_jax.echomimic import PRESETS, EchoMimicDiT, EchoMimicObjective, EchoMimicPipeline
from actavatar_jax.models import Execution
from actavatar_jax.models.wan_vae.vae import WanVAE
from actavatar_jax.parallel import make_mesh, param_shardings, place_batch, replicate, state_shardings
from actavatar_jax.pipeline import embed_conditions, velocity_function
from actavatar_jax.planning.training import program
from actavatar_jax.runs.opening import open_network, open_params
from actavatar_jax.runs.systems import actavatar as actavatar_system
from actavatar_jax.runs.workload import workload_of
from actavatar_jax.training.objective import AvatarObjective
from actavatar_jax.training.optimizer import skip_bad_steps
from actavatar_jax.training.preference import PreferenceSettings
from actavatar_jax.training.state import TrainState, create_state
from actavatar_jax.training.step import make_train_step
from configs import stage2
from tests.echomimic import tiny
from tests.models.wan_vae.test_vae import CONFIG as VAE
from tests.parallel.world import BATCH, FRAMES, NETWORK, batch, params

TX = skip_bad_steps(optax.sgd(1.0))  # parameters move by their gradient
KEY = jax.random.key(0, impl="threefry2x32")


def training() -> None:
    """Loss and gradients on every kind of mesh, and what the compiled step exchanges."""

    def make_step(**options):
        return make_train_step(NETWORK, TX, AvatarObjective(), lambda step: 0.0, 0.5, **options)

    one, metrics = make_step()(TrainState.create(params(), {}, TX, ema=True), jax.device_put(batch()), KEY)
    for shape, parts in (("8,1,1", 1), ("1,8,1", 1), ("2,1,4", 1), ("2,2,2", 2)):
        mesh = make_mesh(shape)
        state = create_state(params(), {}, TX, True, mesh)
        step = make_step(shardings=state_shardings(state, mesh), micro_batches=parts)
        with jax.set_mesh(mesh):
            arguments = state, place_batch(batch(), mesh), replicate(KEY, mesh)
            compiled = step.lower(*arguments).compile()
            with jax.transfer_guard("disallow"):
                many, on_mesh = compiled(*arguments)
        text, memory = compiled.as_text(), compiled.memory_analysis()
        loops = 1 if parts == 1 else 2  # blocks within parts
        exchanges = re.findall(r' all-to-all\(.*op_name="([^"]*)', text)
        exchanges = [name for name in exchanges if name.count("/while/body/") == loops]
        report(
            mesh=shape,
            loss=difference(on_mesh, metrics),
            gradient=difference(many.params, one.params),
            average=difference(many.ema, one.ema),
            not_in_place=memory.output_size_in_bytes - memory.alias_size_in_bytes,
            forward=sum("transpose" not in name for name in exchanges),
            backward=sum("transpose" in name for name in exchanges),
        )


def echomimic() -> None:
    """The other system's loss and gradients: of one variant's usual step, and of the other's with pairs."""
    for variant, shape, paired in (("flash", "2,1,4", False), ("preview", "2,2,2", True)):
        config = dataclasses.replace(
            PRESETS["tiny"],
            variant=variant,
            width=32,
            heads=4,
            head_dim=8,
            ffn=64,
            text_dim=16,
            text_len=12,
            audio_dim=8,
        )
        network = functional.Network(EchoMimicDiT, config)
        weights = params(network)
        preference = PreferenceSettings(5.0) if paired else None
        step = partial(make_train_step, network, TX, EchoMimicObjective(), lambda step: 0.0, preference=preference)
        given = batch() | {"latents": tiled(FRAMES, 4, 4, config.out_channels)}
        given |= {"rejected": -given["latents"]} if paired else {}
        given |= {"known": tiled(FRAMES, 4, 4, config.known_channels), "picture": tiled(17, config.image_dim)}
        frames = 4 * FRAMES - 3
        given["audio"] = tiled(frames, 2, 8) if variant == "flash" else tiled(2 * frames, 1, 8)
        alone = TrainState.create(weights, {}, TX)
        alone = dataclasses.replace(alone, reference=jax.device_put(params(network))) if paired else alone
        one, metrics = step()(alone, jax.device_put(given), KEY)
        mesh = make_mesh(shape)
        state = create_state(params(network), {}, TX, False, mesh, paired)
        with jax.set_mesh(mesh):
            arguments = state, place_batch(given, mesh), replicate(KEY, mesh)
            many, on_mesh = step(shardings=state_shardings(state, mesh))(*arguments)
        moved = difference(one.params, params(network))
        report(loss=difference(on_mesh, metrics), gradient=difference(many.params, one.params), moved=moved)


def echomimic_video() -> None:
    """A video of the other system: its branches, weights and latent frames cut. Means of levels: a norm over four
    channels that are nearly zero makes two levels of a single value out of a rounding (1e-6 in the weights)."""
    pipe = tiny.pipeline("flash")
    part = tiny.component(EchoMimicDiT, dataclasses.replace(tiny.CONFIGS["flash"], heads=4), Execution())
    asked = (tiny.picture(0), tiny.speech(5), tiny.TEXTS[0])
    one = EchoMimicPipeline(part, pipe.encoders)(*asked, steps=2)
    mesh = make_mesh("4,1,2")
    cut = jax.device_put(part.params, param_shardings(functional.abstract(part.module, part.config), mesh))
    many = EchoMimicPipeline(dataclasses.replace(part, params=cut), pipe.encoders, mesh)(*asked, steps=2)
    other = EchoMimicPipeline(part, pipe.encoders)(*asked, steps=2, seed=7)
    many, other = (float(np.abs(made.frames - one.frames.astype(int)).mean()) for made in (many, other))
    report(video=many, other=other)


def tiled(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal((BATCH, *shape), np.float32)


def small() -> None:
    """The local size of stage 2, whose matrices are larger than its activations, on four of the devices."""
    config = stage2.get_config("runlocal")
    config.data.update({"bucket": (64, 64, 13), "batch_size": 4})
    program.lower(workload_of(config), make_mesh("1,2,2", jax.devices()[:4])).compile()
    report(compiled=True)


def sampling() -> None:
    """Latents of a guided sampler, also with guidance at the middle step alone and step by step; a decoded video."""
    grid = (FRAMES, 4, 4)
    inputs = {name: array[:2] for name, array in batch().items()}
    noise = sample_noise(0, np.arange(1), (*grid, 4))

    def latents(weights, interval=(0.0, 1.0), callback=None):
        def conditions(rows):
            names = ("text", "phase_ids", "phase_windows", "audio")
            return weights, embed_conditions(NETWORK, weights, *(inputs[name][rows] for name in names), grid)

        return sample(
            velocity_function(NETWORK),
            conditions(slice(2)),
            noise=noise,
            clean=None,
            solver="unipc",
            sigmas=sigma_grid("unipc", 3, 5.0),
            guidance=guidance("auto", 5.0, 5.0, interval),
            unguided=conditions(slice(1, 2)),
            callback=callback,
        )

    middle = {"interval": (0.8, 0.95)}
    weights, mesh = jax.device_put(params()), make_mesh("2,1,4")
    one, limited = latents(weights), latents(weights, **middle)
    with jax.set_mesh(mesh):
        weights = jax.device_put(params(), param_shardings(params(), mesh))
        many, steps = latents(weights), []
        limits = latents(weights, **middle), latents(weights, **middle, callback=steps.append)
    report(latents=difference(many, one), size=float(jnp.abs(one).max()))
    report(
        limited=[difference(many, limited) for many in limits],
        effect=difference(one, limited),
        watched=(len(steps), _advance._cache_size()),
    )

    rng = np.random.default_rng(0)
    weights = jax.tree.map(
        lambda x: rng.normal(size=x.shape, scale=0.3).astype(np.float32), functional.abstract(WanVAE, VAE)
    )
    decode = jax.jit(lambda x: functional.bind(WanVAE, VAE, weights).decode_stream(x))
    codes = rng.standard_normal((1, 3, 5, 8, 3), np.float32)  # columns divide, rows do not
    one = decode(codes)
    with jax.set_mesh(mesh):
        many = decode(codes)
        text = decode.lower(codes).compile().as_text()
    report(video=difference(many, one), columns=",40,8,3]" in text)


TWO_BRANCHES = Sampling(steps=2, text_guidance=2.0, audio_guidance=2.0)


def pipeline() -> None:
    """A shipped model on one device and on eight, there also as a training visits it."""
    folder = Path(actavatar_jax.__file__).parent / "puppets" / "assets" / "model"
    rng = np.random.default_rng(0)
    picture, speech = (
        rng.integers(0, 255, (128, 128, 3), np.uint8),
        rng.standard_normal(13 * 640).astype(np.float32) / 9,
    )
    videos, devices, turned = [], [], []

    def make(model, jobs=(), **_):
        video = model(picture, speech, "A puppet. [0-0.5s] Waves.", TWO_BRANCHES, num_frames=13, anyway=True)
        videos.append(video.frames.astype(int))
        devices.append(len(jax.tree.leaves(model.encoders.text_encoder.params)[0].sharding.device_set))

    for mesh in (None, "2,1,4"):
        model = ActAvatarPipeline.from_pretrained(folder, mesh=mesh)
        make(model)
        # Another form of time in text, and a video that goes on from five frames: two clean latents.
        options = {"phase_time": "tie", "num_frames": 13, "anyway": True}
        video = model(np.stack([picture] * 5), speech, "A puppet. [0-0.5s] Waves.", TWO_BRANCHES, **options)
        turned.append(video.frames.astype(int))
    together = model.make_videos(
        picture, speech, ["A puppet. [0-0.5s] Waves."], [TWO_BRANCHES.seed, 7], TWO_BRANCHES, num_frames=13, anyway=True
    )
    visit(folder, make)
    videos.append(together[0].frames.astype(int))
    differences = [int(np.abs(video - videos[0]).max()) for video in videos]
    other = float(np.abs(together[1].frames.astype(int) - videos[0]).mean())
    tie = {"tie": int(np.abs(turned[1] - turned[0]).max()), "untied": float(np.abs(turned[0] - videos[0]).mean())}
    report(frames=differences, devices=devices, range=int(np.ptp(videos[0])), other=other, **tie)


def visit(folder: Path, make) -> None:
    """Has `make` called with the pipeline with which a run on the mesh makes its sample videos."""
    config = stage2.get_config("runlocal")
    config.update({"mesh": "2,1,4", "precision": "float32"})
    config.model.update({"folder": str(folder), "preset": ""})
    actavatar_system.run_jobs = make
    with tempfile.TemporaryDirectory() as temporary:
        jobs = Path(temporary) / "jobs.jsonl"
        jobs.write_text(json.dumps({"image": "a.png", "audio": "a.wav", "prompt": "A puppet.", "out": "a.mp4"}))
        config.sample.update({"every": "1", "jobs": str(jobs)})
        network = open_network(config)
        sample = actavatar_system.make_sampler(config, network, Path(temporary))
        mesh = make_mesh(config.mesh)
        shapes = functional.abstract(network.module, network.config)
        places = functional.flatten(param_shardings(shapes, mesh))
        weights = open_params(config, network, places.keys(), places)
        with jax.set_mesh(mesh):
            sample(functional.unflatten(weights), 1)


def difference(ours, theirs) -> float:
    """The largest of all leaves, whole arrays on the host."""
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    return max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs)


def report(**values) -> None:
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    assert len(jax.devices()) == 8 and BATCH == 8
    runs = (training, echomimic, echomimic_video, small, sampling, pipeline)
    {run.__name__: run for run in runs}[sys.argv[1]]()
