"""FLOPs counted in traced programs: loops, convolutions, and the transformer's own formulas."""

import dataclasses

import jax
import jax.numpy as jnp

from actavatar_jax.functional import Network, abstract
from actavatar_jax.models.avatar import ActAvatarDiT
from actavatar_jax.models.execution import Execution
from actavatar_jax.models.flops import condition_flops, forward_flops
from actavatar_jax.models.presets import PRESETS
from actavatar_jax.pipeline import embed_conditions
from actavatar_jax.planning.flops import program_flops


def counted(function, *shapes):
    return program_flops(jax.jit(function).trace(*(jax.ShapeDtypeStruct(s, jnp.float32) for s in shapes)).jaxpr)


def test_products_count_at_every_turn_of_their_loop():
    def looped(x, w):
        return jax.lax.scan(lambda x, _: (jax.jit(jnp.matmul)(x, w), None), x, length=3)[0]

    assert counted(looped, (4, 8), (8, 8)) == 3 * 2 * 4 * 8 * 8
    assert counted(lambda a, b: jnp.einsum("bij,bjk->bik", a, b), (5, 4, 8), (5, 8, 2)) == 2 * 5 * 4 * 2 * 8


def test_convolutions_count_by_their_outputs():
    def convolved(x, w):
        return jax.lax.conv_general_dilated(
            x, w, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=2
        )

    assert counted(convolved, (1, 8, 8, 6), (3, 3, 3, 10)) == 2 * (4 * 4 * 10) * (3 * 3 * 3)


def test_the_transformer_takes_what_its_formulas_say():
    config = dataclasses.replace(PRESETS["tiny"].transformer, frame_time=False)
    network = Network(ActAvatarDiT, config, Execution(attention="xla"))
    grid, rows, c = (3, 4, 4), 2, config
    frames = 4 * (grid[0] - 1) + 1
    f32 = jnp.float32
    inputs = (
        jax.ShapeDtypeStruct((rows, c.text_len, c.text_dim), f32),
        jax.ShapeDtypeStruct((rows, c.text_len), jnp.int32),
        jax.ShapeDtypeStruct((rows, c.max_phases, 2), f32),
        jax.ShapeDtypeStruct((rows, frames, c.audio.feature_layers, c.audio.feature_width), f32),
    )
    params = abstract(ActAvatarDiT, config)
    once = embed_conditions.trace(network, params, *inputs, grid)
    assert program_flops(once.jaxpr) == rows * condition_flops(config, grid)

    conditions = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), once.lower().out_info)
    latents = jax.ShapeDtypeStruct((rows, *grid, c.in_channels), f32)
    times = jax.ShapeDtypeStruct((rows, grid[0]), f32)
    step = jax.jit(lambda params, *inputs: network.bind(params)(*inputs)).trace(params, latents, times, conditions)
    assert program_flops(step.jaxpr) == rows * (forward_flops(config, grid) - condition_flops(config, grid))
