"""The sampler: all solver steps in one jitted program, or, for whoever watches, one program called for every step.

Which guidance branches a step evaluates is known before the program runs, because noise levels are. The steps fall
into stretches with the same branches, at most three (`Guidance.interval`), and each stretch is a scan.

B batch, G guidance branches, T latent frames, K clean ones, H W latent height and width, C latent channels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from actavatar_jax.diffusion.flow import gaussian, keep_clean, sample_keys, spread_times
from actavatar_jax.diffusion.guidance import Guidance, combine
from actavatar_jax.diffusion.solvers import Sigmas, Solver, check_sigmas, make_solver, model_times
from actavatar_jax.functional import random_key
from actavatar_jax.parallel import BATCH, SEQ, constrain, result_shapes


@dataclass(frozen=True, eq=False)
class Step:
    """What a callback sees after a solver step. The arrays stay where they were computed; on a mesh they are cut."""

    done: int  # steps, this one included
    steps: int  # in all
    sigma: float  # the noise level that this step began at, where its velocity was predicted
    velocity: Float[Array, "B T H W C"]  # guided
    data: Float[Array, "B T H W C"]  # the clean latents as estimated from it; those of the last step are the result


def sample(
    velocity_fn: Callable,
    conditions: Any,
    *,
    noise: Float[Array, "B T H W C"],
    clean: Float[Array, "B K H W C"] | None,
    solver: str,
    sigmas: Sigmas,
    guidance: Guidance,
    unguided: Any = None,
    per_step: Any = None,
    memory: Any = None,
    callback: Callable[[Step], None] | None = None,
) -> Float[Array, "B T H W C"]:
    """Latents (float32) that the flow `velocity_fn` carries from `noise` to data.

    velocity_fn(latents [G*B, T, H, W, C], timesteps [G*B, T] in 0..1000, conditions) -> velocity [G*B, T, H, W, C] is
    called once per step for all guidance branches, branch-major: rows 0..B-1 are guidance.branches[0]. `conditions`
    is any pytree already laid out for those G*B rows; it reaches velocity_fn untouched and holds the parameters too.
    The program is compiled once per velocity_fn object and set of shapes, so pass the same function every time.
    `unguided` is the same for the B rows of the branch that sees text and audio: a step outside guidance.interval
    evaluates no other. `per_step` is a pytree of arrays with a row for each step: velocity_fn then has that of the step
    as a fourth argument. `memory` is a pytree of arrays that velocity_fn is given last, and gives back as it is to be
    at the next step: (velocity, memory).

    Under `jax.set_mesh` the branches are cut over the axes of a batch and latent frames over those of a sequence.

    `clean` is the clean latent of the image, or the first K latents of a video that goes on: they are put back around
    every step, with timestep 0. None is text to video. `solver` and `sigmas` [steps + 1]: see solvers.py; they must be
    known outside jit.

    `callback` is called after every step, in all processes alike. The host then waits for each step; the result is the
    same to rounding. What it raises ends the sampling.

    Raises InputError for an unknown solver or sigmas that do not fall strictly from at most 1 to 0.
    """
    integrator, given = make_solver(solver, sigmas), _given(solver, sigmas, per_step)
    guided, branches = _branches(conditions, unguided, sigmas, guidance)
    if callback is None:
        return _integrate(velocity_fn, _stretches(guided), branches, noise, clean, integrator, given, memory)
    carry = _begin(noise, clean, integrator, memory)
    for i, (on, sigma) in enumerate(zip(guided, np.float32(check_sigmas(sigmas)[:-1]), strict=True)):
        now = jax.tree.map(lambda x, i=i: x[i], (integrator, given))
        carry, velocity, data = _advance(velocity_fn, *branches[on], clean, carry, now, sigma)
        callback(Step(i + 1, len(guided), float(sigma), jax.block_until_ready(velocity), data))
    return carry[0]


def sample_calls(
    velocity_fn: Callable,
    conditions: Any,
    *,
    noise: Any,
    clean: Any,
    solver: str,
    sigmas: Sigmas,
    guidance: Guidance,
    unguided: Any = None,
    per_step: Any = None,
    watched: bool,
) -> dict[str, tuple[int, Callable, tuple]]:
    """What `sample` with these arguments calls: (how often, jitted function, its arguments) by a name, for planning.

    Of arrays only shapes, types and shardings are read: `jax.ShapeDtypeStruct`s will do. `watched` is with a callback:
    then steps are programs, otherwise all of them together are one.
    """
    integrator, given = make_solver(solver, sigmas), _given(solver, sigmas, per_step)
    guided, branches = _branches(conditions, unguided, sigmas, guidance)
    if not watched:
        arguments = (velocity_fn, _stretches(guided), branches, noise, clean, integrator, given, None)
        return {"sampling": (1, _integrate, arguments)}
    carry = result_shapes(_begin.lower(noise, clean, integrator, None))
    now, sigma = jax.tree.map(lambda x: x[0], (integrator, given)), np.float32(1)
    return {
        "step" if on else "step without guidance": (
            guided.count(on),
            _advance,
            (velocity_fn, *branches[on], clean, carry, now, sigma),
        )
        for on in dict.fromkeys(guided)
    }


def evaluations(guidance: Guidance, sigmas: Sigmas) -> int:
    """How often `sample` evaluates the model, every guidance branch of every step counted."""
    return int(np.where(guidance.guided(check_sigmas(sigmas)[:-1]), len(guidance.branches), 1).sum())


def sample_noise(
    seed: int, sample_ids: Integer[Array, "B"] | Integer[np.ndarray, "B"], shape: tuple[int, ...]
) -> Float[Array, "B ..."]:
    """Initial noise [B, *shape]: that of a sample depends on `seed` and its id, not on the batch it is drawn in."""
    return gaussian(sample_keys(random_key(seed), sample_ids), shape)


def _branches(conditions, unguided, sigmas, guidance):
    """Whether each step is guided; what is evaluated if so and if not, with weights."""
    guided = guidance.guided(check_sigmas(sigmas)[:-1]).tolist()
    weights = {True: np.asarray(guidance.weights, np.float32), False: np.ones(1, np.float32)}
    return guided, {True: (conditions, weights[True]), False: (unguided, weights[False])}


def _given(solver: str, sigmas: Sigmas, per_step: Any = None) -> tuple[Any, ...]:
    """What velocity_fn is given of the steps: times, and a caller's own where there is any."""
    return (model_times(solver, sigmas),) + (() if per_step is None else (per_step,))


def _stretches(guided: list[bool]) -> tuple[tuple[bool, int], ...]:
    return tuple((on, len(list(run))) for on, run in groupby(guided))


@partial(jax.jit, static_argnums=(0, 1))
def _integrate(
    velocity_fn: Callable,
    stretches: tuple[tuple[bool, int], ...],
    branches: dict[bool, tuple[Any, Float[Array, "_"]]],
    noise: Float[Array, "B T H W C"],
    clean: Float[Array, "B K H W C"] | None,
    solver: Solver,
    given: tuple[Any, ...],
    memory: Any = None,
) -> Float[Array, "B T H W C"]:
    """All steps: stretches of (guided, how many steps), for each of which `branches` has conditions and weights."""
    carry, begin = _begin(noise, clean, solver, memory), 0
    for guided, steps in stretches:
        move = partial(_move, velocity_fn, *branches[guided], clean)
        part = jax.tree.map(lambda x, a=begin, b=begin + steps: x[a:b], (solver, given))
        carry, _ = jax.lax.scan(lambda carry, now, move=move: (move(carry, now)[0], None), carry, part)
        begin += steps
    return carry[0]


@partial(jax.jit, static_argnums=0)
def _advance(velocity_fn, conditions, weights, clean, carry, now, sigma):
    """One step, with its velocity and the estimate of the clean latents."""
    after, velocity = _move(velocity_fn, conditions, weights, clean, carry, now)
    return after, velocity, constrain(keep_clean(carry[0] - sigma * velocity, clean), BATCH, SEQ)


@jax.jit
def _begin(noise, clean, solver, memory=None):
    latents = keep_clean(noise.astype(jnp.float32), clean)
    return *_cut((latents, solver.init(latents))), memory


def _move(velocity_fn, conditions, weights, clean, carry, now):
    """(latents, solver's state, memory) -> those after a step whose solver has the coefficients of that step; the
    velocity."""
    (latents, state, memory), (solver, (time, *own)), branches = carry, now, len(weights)
    times = jnp.full(branches * len(latents), time)
    timesteps = spread_times(times, latents.shape[1], clean=0 if clean is None else clean.shape[1])
    branched = constrain(jnp.concatenate([latents] * branches), BATCH, SEQ)
    if memory is None:
        velocities = velocity_fn(branched, timesteps, conditions, *own)
    else:
        velocities, memory = velocity_fn(branched, timesteps, conditions, *own, memory)
    velocity = constrain(combine(weights, velocities.reshape(branches, *latents.shape)), BATCH, SEQ)
    latents, state = solver.step(solver.coefficients, state, latents, velocity)
    return (*_cut((keep_clean(latents, clean), state)), memory), velocity


def _cut(carry):
    """Latents and the solver's state, which is made of such, the same over the mesh before and after every step."""
    return jax.tree.map(lambda x: constrain(x, BATCH, SEQ), carry)
