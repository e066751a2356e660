"""Parameters that are all random: nothing hides behind a zero or a one."""

import jax
import numpy as np

from actavatar_jax import functional


def random_params(module, config, seed=0, spread=1.0):
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        gain, few = path[-1].key in ("scale", "gain"), len(leaf.shape) < 2
        deviation = 0.2 if few else spread * np.prod(leaf.shape[:-1]) ** -0.5
        return (rng.normal(size=leaf.shape, scale=deviation) + gain).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, functional.abstract(module, config))
