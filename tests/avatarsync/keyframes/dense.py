"""The keyframe transformer as one sequence under one mask: what the folded path has to be equal to."""

import jax
import jax.numpy as jnp
import numpy as np

from actavatar_jax import functional
from actavatar_jax.avatarsync.keyframes import KeyframeTransformer
from actavatar_jax.avatarsync.keyframes.block import attend
from actavatar_jax.avatarsync.keyframes.mask import may_see, sequence
from actavatar_jax.avatarsync.keyframes.rope import rope_table, unturned


def mask_of(frames, length, visible):
    slots = sequence(frames, length)
    queries, keys = (type(slots)(*(x[index] for x in slots)) for index in (np.s_[:, None], np.s_[None, :]))
    return may_see(queries, keys, visible)


def logits(config, params, reference, units, tokens, mask):
    """[C, T, N, V], and the keys of the units at every layer [layers, C, T, H, K]."""
    model = functional.bind(KeyframeTransformer, config, params)
    (C, T, N), width = tokens.shape, config.width

    def rows(x, segment):
        return x.reshape(C, -1, width) + params["segments"][segment][None, None]

    start = jnp.broadcast_to(params["start"][None], (C, 1, width))
    before = params["tokens"][tokens[:, :, :-1]]
    frame_start = jnp.broadcast_to(params["start"][None, None], (C, T, 1, width))
    frames = jnp.concatenate([frame_start, before], axis=2) + params["places"][None, None]
    seen = params["tokens"][reference] + params["places"][None]
    x = jnp.concatenate([rows(params["units"][units], 0), rows(start, 1), rows(seen, 1), rows(frames, 2)], axis=1)
    turns = rope_table(*config.tokens, config.head_dim)
    still = unturned(1, config.head_dim)
    of_frame = [still, turns[:, :-1]]
    rope = jnp.asarray(np.concatenate([unturned(T + 1, config.head_dim), turns, *(of_frame * T)], axis=1))

    def apply(x, block):
        q, keys_values = block.project(x, rope)
        return block.finish(x, attend(q, keys_values, mask)), keys_values.keys[:, :T]

    x, keys = jax.lax.scan(apply, x, model.blocks)
    return model.head(model.norm(x[:, -T * N :])).reshape(C, T, N, -1), keys
