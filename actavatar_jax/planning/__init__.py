"""Clusters that are not here: a training step compiled for them, its memory, its collectives, and what would fit."""

from actavatar_jax.planning.meshes import advise, search
from actavatar_jax.planning.planner import Plan, plan_training
from actavatar_jax.planning.report import compare, describe, markdown, save, verdict

__all__ = ["Plan", "advise", "compare", "describe", "markdown", "plan_training", "save", "search", "verdict"]
