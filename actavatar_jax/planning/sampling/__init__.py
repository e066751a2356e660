"""A video's programs compiled for a machine that need not be here: memory, bounds of time, and what would fit."""

from actavatar_jax.planning.sampling.advice import advise, advise_devices
from actavatar_jax.planning.sampling.planner import Plan, plan_here, plan_sampling
from actavatar_jax.planning.sampling.report import changes, compare, describe, save, summary, verdict
from actavatar_jax.planning.sampling.workload import System, Workload

__all__ = [
    "Plan",
    "System",
    "Workload",
    "advise",
    "advise_devices",
    "changes",
    "compare",
    "describe",
    "plan_here",
    "plan_sampling",
    "save",
    "summary",
    "verdict",
]
