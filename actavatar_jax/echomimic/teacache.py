"""TeaCache: blocks that would change the tokens as they did a moment ago are left out (arXiv 2411.19108).

How far two calls are apart is told by what their times tell the blocks, so which calls are left out is known before
sampling begins. A call that is left out adds what the blocks added when they last ran.
n calls, N steps, G branches of guidance.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

WARM = 5  # calls, of every cycle, that are always made
# From the distance of two modulations to that of the blocks' results, fitted by TeaCache's authors for Wan2.1 1.3B.
POLYNOMIAL = np.poly1d([-5.21862437e04, 9.23041404e03, -5.28275948e02, 1.36987616e01, -4.99875664e-02])


def made_calls(
    distances: Sequence[float] | Float[np.ndarray, " n"], threshold: float, cycle: int
) -> Bool[np.ndarray, " n"]:
    """Whether each call is made: the first `WARM` of every `cycle` calls, and whenever the estimated distances since
    the last one that was made add up to the threshold.

    distances: of each call to the one before.
    """
    made, total = [], 0.0
    for number, distance in enumerate(distances):
        total += POLYNOMIAL(distance)
        run = number % cycle < WARM or total >= threshold
        total = 0.0 if run else total
        made.append(run)
    return np.asarray(made)


def distances(modulations: Float[np.ndarray, "n E"]) -> Float[np.ndarray, " n"]:
    """Relative mean distance of each call's modulation to that of the one before; of the first one 0."""
    apart, size = np.abs(np.diff(modulations, axis=0)).mean(axis=1), np.abs(modulations[:-1]).mean(axis=1)
    return np.append(0.0, apart / size)


def plan_calls(
    modulations: Float[np.ndarray, "N E"], branches: int, mode: str, threshold: float
) -> Bool[np.ndarray, "N {branches}"]:
    """Which branches are evaluated at each step.

    `separate`: each branch has a count and a memory of its own, and as times are the same all of them decide alike.
    `shared`: all of them have one, as the public code of flash; from the sixth call of a cycle on the second branch
    then is as good as never evaluated, and takes what the first one added: guidance is gone.
    """
    steps = len(modulations)
    if mode == "separate":
        made = made_calls(distances(modulations), threshold, steps)
        return np.repeat(made[:, None], branches, axis=1)
    calls = np.repeat(modulations, branches, axis=0)
    return made_calls(distances(calls), threshold, steps).reshape(steps, branches)
