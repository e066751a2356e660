"""How much of a world's motion no condition tells: the floor under what any model of it can reach.

S idle seeds, F frames.
"""

from collections.abc import Iterable

import numpy as np

from actavatar_jax.errors import InputError
from actavatar_jax.puppets.world.clips import World, make_clip


def untold_share(world: World, seeds: Iterable[int], idles: int = 4) -> float:
    """The share of the energy of change from frame 0 that differs between clips of equal conditions.

    Each clip of `seeds` is drawn `idles` times, with everything but the stream of idle motion the same: what then
    varies around the mean of those drawings (unbiased), summed over clips, over all that changes. 0: first frame,
    sound and prompt tell everything.
    """
    if idles < 2:
        raise InputError(f"Idle motion was to be drawn {idles} times; at least 2 are needed to tell what differs.")
    untold = total = 0.0
    for seed in seeds:
        clips = [make_clip(seed, world, idle_seed=idle).frames.astype(np.float32) for idle in range(idles)]
        change = np.stack([frames[1:] - frames[:1] for frames in clips])
        untold += change.var(axis=0, ddof=1, dtype=np.float64).sum()
        total += np.square(change, dtype=np.float64).mean(axis=0).sum()
    return float(untold / total) if total else 0.0
