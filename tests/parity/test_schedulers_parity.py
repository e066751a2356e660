"""Whole trajectories of our solvers against diffusers' schedulers on a nonlinear fake model."""

import numpy as np
import pytest

from actavatar_jax.diffusion import sample
from actavatar_jax.diffusion.guidance import guidance
from actavatar_jax.diffusion.solvers import make_solver, model_times

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 5.0}
SCHEDULERS = {
    "unipc": lambda: diffusers.UniPCMultistepScheduler(
        **FLOW, solver_order=2, solver_type="bh2", predict_x0=True, final_sigmas_type="zero"
    ),
    "dpm++": lambda: diffusers.DPMSolverMultistepScheduler(
        **FLOW, solver_order=2, algorithm_type="dpmsolver++", solver_type="midpoint", final_sigmas_type="zero"
    ),
    "euler": lambda: diffusers.FlowMatchEulerDiscreteScheduler(shift=5.0),
}
RNG = np.random.default_rng(0)
SHAPE = (2, 3, 4, 4, 6)
NOISE = RNG.standard_normal(SHAPE)
MIX, TIME = RNG.standard_normal((6, 6)), RNG.standard_normal((1, 1, 1, 1, 6))


CONDITIONS = tuple(jnp.asarray(array, jnp.float32) for array in (MIX, TIME))


def our_model(latents, timesteps, conditions):
    mix, time = conditions
    return jnp.tanh(latents @ mix + timesteps[:, :, None, None, None] / 1000 * time) + 0.5 * latents


def our_trajectory(name, sigmas):
    """Latents after every step [steps, B, T, H, W, C], float32."""
    solver = make_solver(name, sigmas)

    def step(carry, now):
        coefficients, time = now
        timesteps = jnp.full(SHAPE[:2], time)
        latents, state = solver.step(coefficients, carry[1], carry[0], our_model(carry[0], timesteps, CONDITIONS))
        return (latents, state), latents

    noise = jnp.asarray(NOISE, jnp.float32)
    return jax.lax.scan(step, (noise, solver.init(noise)), (solver.coefficients, model_times(name, sigmas)))[1]


def their_trajectory(scheduler):
    """The same by the scheduler, in float64 on its float32 sigmas, so that it brings no rounding of its own."""
    scheduler.sigmas = scheduler.sigmas.double()
    mix, time, latents = (torch.from_numpy(array) for array in (MIX, TIME, NOISE))
    trajectory = []
    for t in scheduler.timesteps:
        velocity = torch.tanh(latents @ mix + t.double() / 1000 * time) + 0.5 * latents
        latents = scheduler.step(velocity, t, latents, return_dict=False)[0]
        trajectory.append(latents.numpy())
    return np.stack(trajectory)


def relative_error(ours, theirs):
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


@pytest.mark.parametrize("steps", [8, 40])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_trajectory_equals_diffusers(name, steps):
    scheduler = SCHEDULERS[name]()
    scheduler.set_timesteps(steps)
    sigmas = scheduler.sigmas.numpy()
    np.testing.assert_array_equal(model_times(name, sigmas), scheduler.timesteps.numpy().astype(np.float32))
    theirs = their_trajectory(scheduler)
    errors = [relative_error(*pair) for pair in zip(our_trajectory(name, sigmas), theirs, strict=True)]
    assert max(errors) <= 1e-5

    settings = {"solver": name, "sigmas": sigmas, "guidance": guidance("auto", 1.0, 1.0)}
    sampled = sample(our_model, CONDITIONS, noise=jnp.asarray(NOISE, jnp.float32), clean=None, **settings)
    assert relative_error(sampled, theirs[-1]) <= 1e-5
