"""Clusters that are not here: a training step compiled for them, its memory, its collectives, and what would fit."""

from actavatar_jax.planning.meshes import advise, search
from actavatar_jax.planning.planner import Plan, plan_training
from actavatar_jax.planning.report import compare, describe, markdown, save, verdict
from actavatar_jax.planning.workload import Workload

__all__ = [
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
