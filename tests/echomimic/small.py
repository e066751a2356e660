"""A small transformer of each variant with random parameters, and what it is conditioned on."""

import dataclasses
import functools

import jax
import numpy as np

from actavatar_jax import functional
from actavatar_jax.echomimic import EchoMimicConfig, EchoMimicDiT
from actavatar_jax.models import Execution

CONFIG = EchoMimicConfig(
    width=72,
    heads=3,
    head_dim=24,
    ffn=96,
    layers=2,
    in_channels=10,
    out_channels=4,
    text_dim=12,
    text_len=512,  # diffusers tells text from picture by it
    image_dim=20,
    freq_dim=16,
    audio_dim=6,
    audio_layers=2,
    audio_hidden=8,
    audio_tokens=5,
)
CONFIGS = {name: dataclasses.replace(CONFIG, variant=name) for name in ("preview", "flash")}
FRAMES, HEIGHT, WIDTH = 3, 4, 6


def random_params(variant):
    """Every leaf random: nothing hides behind a zero or a one."""
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        gain = path[-1].key == "scale"
        stacked = path[0].key == "blocks"
        spread = leaf.shape[-2] ** -0.5 if len(leaf.shape) - stacked == 2 else 0.2
        return (rng.normal(size=leaf.shape, scale=spread) + gain).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, functional.abstract(EchoMimicDiT, CONFIGS[variant]))


def inputs(variant, batch=2):
    rng = np.random.default_rng(1)

    def draw(*shape):
        return rng.standard_normal((batch, *shape)).astype(np.float32)

    text = draw(512, 12)
    text[:, 9:] = 0  # padding takes part in attention
    frames = 4 * FRAMES - 3
    return {
        "text": text,
        "image": draw(5, 20),
        "audio": draw(2 * frames, 6) if variant == "preview" else draw(frames, 2, 6),
        "known": draw(FRAMES, HEIGHT, WIDTH, 6),
    }


LATENTS = np.random.default_rng(2).standard_normal((2, FRAMES, HEIGHT, WIDTH, 4)).astype(np.float32)
TIMES = np.asarray([699.25, 45.0], np.float32)


def run(variant, params, cached=False, execution=Execution(), **changed):  # noqa: B008 - frozen
    times = np.tile(TIMES[:, None], (1, FRAMES))
    return np.asarray(compiled(variant, cached, execution)(params, inputs(variant) | changed, LATENTS, times))


@functools.cache
def compiled(variant, cached, execution):
    def forward(params, inputs, latents, times):
        model = functional.bind(EchoMimicDiT, CONFIGS[variant], params, execution)
        conditions = model.condition(**inputs)
        return model(latents, times, model.cache(conditions) if cached else conditions)

    return jax.jit(forward, compiler_options=functional.RUN_ONCE)


def relative_error(got, want):
    return np.abs(np.asarray(got) - want).max() / np.abs(want).max()
