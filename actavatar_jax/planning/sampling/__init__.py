"""A video's programs compiled for a machine that need not be here: memory, bounds of time, and what would fit."""

from actavatar_jax.planning.sampling.advice import advise, advise_devices
from actavatar_jax.planning.sampling.echomimic import EchoMimicWorkload
from actavatar_jax.planning.sampling.plan import Measured, Plan
from actavatar_jax.planning.sampling.planner import plan_here, plan_sampling
from actavatar_jax.planning.sampling.report import compare, describe, save, summary, verdict
from actavatar_jax.planning.sampling.workload import System, Workload

__all__ = [
    "EchoMimicWorkload",
    "Measured",
    "Plan",
    "System",
    "Workload",
    "advise",
    "advise_devices",
    "compare",
    "describe",
    "plan_here",
    "plan_sampling",
    "save",
    "summary",
    "verdict",
]
