"""Flow matching: path and target (flow), integration in time (solvers), guidance, and the jitted sampler."""

from actavatar_jax.diffusion.flow import TimeLaw, frame_times, interpolate, keep_clean
from actavatar_jax.diffusion.guidance import BOTH, Guidance
from actavatar_jax.diffusion.sampler import Step, evaluations, sample, sample_calls, sample_noise
from actavatar_jax.diffusion.sampling import OPTIONS, Sampling, check_length
from actavatar_jax.diffusion.skipping import VelocityPath, keep_levels
from actavatar_jax.diffusion.solvers import check_sigmas, sigma_grid

__all__ = [
    "BOTH",
    "OPTIONS",
    "Guidance",
    "Sampling",
    "Step",
    "TimeLaw",
    "VelocityPath",
    "check_length",
    "check_sigmas",
    "evaluations",
    "frame_times",
    "interpolate",
    "keep_clean",
    "keep_levels",
    "sample",
    "sample_calls",
    "sample_noise",
    "sigma_grid",
]
