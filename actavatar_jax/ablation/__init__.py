"""The ablation of the puppet world: which part of the recipe makes lips and actions right, and when."""

from actavatar_jax.ablation.forecast import forecast
from actavatar_jax.ablation.plan import plan
from actavatar_jax.ablation.runs import run
from actavatar_jax.ablation.table import table

__all__ = ["forecast", "plan", "run", "table"]
