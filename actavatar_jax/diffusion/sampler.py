"""The sampler: all solver steps in one jitted scan.

B batch, G guidance branches, T latent frames, H W latent height and width, C latent channels.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from actavatar_jax.diffusion.flow import gaussian, keep_first_frame, sample_keys, spread_times
from actavatar_jax.diffusion.guidance import Guidance, combine
from actavatar_jax.diffusion.solvers import Sigmas, Solver, make_solver, model_times
from actavatar_jax.parallel.layout import BATCH, SEQ, constrain


def sample(
    velocity_fn: Callable,
    conditions: Any,
    *,
    noise: Float[Array, "B T H W C"],
    first_frame: Float[Array, "B 1 H W C"] | None,
    solver: str,
    sigmas: Sigmas,
    guidance: Guidance,
) -> Float[Array, "B T H W C"]:
    """Latents (float32) that the flow `velocity_fn` carries from `noise` to data.

    velocity_fn(latents [G*B, T, H, W, C], timesteps [G*B, T] in 0..1000, conditions) -> velocity [G*B, T, H, W, C] is
    called once per step for all guidance branches, branch-major: rows 0..B-1 are guidance.branches[0]. `conditions`
    is any pytree already laid out for those G*B rows; it reaches velocity_fn untouched and holds the parameters too.
    The program is compiled once per velocity_fn object and set of shapes, so pass the same function every time.

    Under `jax.set_mesh` the branches are cut over the axes of a batch and latent frames over those of a sequence.

    `first_frame` is the clean latent of the image: it is put back around every step, with timestep 0. None is text
    to video. `solver` and `sigmas` [steps + 1]: see solvers.py; they must be known outside jit.
    Raises InputError for an unknown solver or sigmas that do not fall strictly from at most 1 to 0.
    """
    return _integrate(
        velocity_fn,
        conditions,
        noise,
        first_frame,
        make_solver(solver, sigmas),
        model_times(solver, sigmas),
        np.asarray(guidance.weights, np.float32),
    )


def sample_noise(
    seed: int, sample_ids: Integer[Array, "B"] | Integer[np.ndarray, "B"], shape: tuple[int, ...]
) -> Float[Array, "B ..."]:
    """Initial noise [B, *shape]: that of a sample depends on `seed` and its id, not on the batch it is drawn in."""
    # The generator is named because the default one can be configured, and others are not reproducible under vmap.
    return gaussian(sample_keys(jax.random.key(seed, impl="threefry2x32"), sample_ids), shape)


@partial(jax.jit, static_argnums=0)
def _integrate(
    velocity_fn: Callable,
    conditions: Any,
    noise: Float[Array, "B T H W C"],
    first_frame: Float[Array, "B 1 H W C"] | None,
    solver: Solver,
    times: Float[Array, "steps"],
    weights: Float[Array, "G"],
) -> Float[Array, "B T H W C"]:
    branches, (batch, frames) = len(weights), noise.shape[:2]

    def step(carry, now):
        latents, state = carry
        coefficients, time = now
        timesteps = spread_times(jnp.full(branches * batch, time), frames, clean_first=first_frame is not None)
        branched = constrain(jnp.concatenate([latents] * branches), BATCH, SEQ)
        velocities = velocity_fn(branched, timesteps, conditions)
        velocity = constrain(combine(weights, velocities.reshape(branches, *latents.shape)), BATCH, SEQ)
        latents, state = solver.step(coefficients, state, latents, velocity)
        return (constrain(keep_first_frame(latents, first_frame), BATCH, SEQ), state), None

    latents = constrain(keep_first_frame(noise.astype(jnp.float32), first_frame), BATCH, SEQ)
    (latents, _), _ = jax.lax.scan(step, (latents, solver.init(latents)), (solver.coefficients, times))
    return latents
