"""Whether measures can be trusted: the same videos spoilt on purpose, and what each measure has to say of that."""

from actavatar_jax.evaluation.bench.controls.checking import CONTROLS, ControlsReport, check_controls
from actavatar_jax.evaluation.bench.controls.expectations import Outcome

__all__ = ["CONTROLS", "ControlsReport", "Outcome", "check_controls"]
