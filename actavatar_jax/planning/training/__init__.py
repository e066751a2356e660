"""A training step compiled for a cluster that is not here: its memory, its collectives, and what would fit."""

from actavatar_jax.planning.training.meshes import advise, search
from actavatar_jax.planning.training.planner import Plan, plan_training
from actavatar_jax.planning.training.report import compare, describe, markdown, save, verdict
from actavatar_jax.planning.training.workload import Entries, Workload

__all__ = [
    "Entries",
    "Plan",
    "Workload",
    "advise",
    "compare",
    "describe",
    "markdown",
    "plan_training",
    "save",
    "search",
    "verdict",
]
