"""The ablation of the puppet world: which part of the recipe makes lips and actions right, and when."""

from actavatar_jax.puppets.ablation.costs import forecast
from actavatar_jax.puppets.ablation.planning import plan_runs
from actavatar_jax.puppets.ablation.results import table
from actavatar_jax.puppets.ablation.runs import run_ablation

__all__ = ["forecast", "plan_runs", "run_ablation", "table"]
