"""The learning rate by the number of steps done: one schedule for every training, put together from optax's."""

import optax

# Falls from 1 to 0 in so many steps.
DECAYS = {
    "linear": lambda steps: optax.linear_schedule(1.0, 0.0, steps),
    "cosine": lambda steps: optax.cosine_decay_schedule(1.0, steps),
}


def warmup_stable_decay(
    rate: float, steps: int, *, warmup: int = 0, decay: int = 0, shape: str = "linear"
) -> optax.Schedule:
    """A linear warm-up to `rate`, which then holds, and falls to 0 over the last `decay` steps.

    The first step moves already: a warm-up of 4 steps goes over 1/4, 2/4 and 3/4 of the rate. Without a decay the
    schedule has no end. Where warm-up and decay overlap, both act: their shares are multiplied.

    Args:
      rate: the highest.
      steps: length of the run.
      warmup, decay: steps of the run that they take.
      shape: of the decay, a name in `DECAYS`.
    """
    rising = optax.linear_schedule(rate / max(warmup, 1), rate, max(warmup - 1, 1))
    if not decay:
        return rising
    held = optax.join_schedules([optax.constant_schedule(1.0), DECAYS[shape](decay)], [steps - decay])
    return lambda step: rising(step) * held(step)
