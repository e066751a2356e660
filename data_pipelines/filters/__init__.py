"""What a clip is like, one small file per question: a step goes from a prepared clip to a few columns of the table.

A filter rejects nothing; thresholds apply at selection. `STEPS` is in order of cost, cheap first. Filters that need a
model take it from a folder of ONNX files with agreed names (`models.MODELS`) and say `available: False` without it.
"""

from collections.abc import Sequence
from pathlib import Path

from actavatar_jax.errors import InputError
from data_pipelines.filters import duplicates, faces, motion, probe, quality, shots, sync, text_area, voice
from data_pipelines.filters.models import MODELS
from data_pipelines.table.steps import Step

__all__ = ["MODELS", "STEPS", "make_steps"]

STEPS = {
    "probe": probe.step,
    "voice": voice.step,
    "duplicates": duplicates.step,
    "shots": shots.step,
    "quality": quality.step,
    "text_area": text_area.step,
    "faces": faces.step,
    "sync": sync.step,
    "motion": motion.step,
}


def make_steps(names: Sequence[str] | None = None, models: str | Path | None = None) -> list[Step]:
    """The steps called `names` (default: all), cheap first, with the models in the folder `models`.

    Raises InputError for an unknown name, a folder that is not there, a model file that is broken or another model.
    """
    unknown = [name for name in names or () if name not in STEPS]
    if unknown:
        raise InputError(f"there is no filter '{unknown[0]}'; accepted are {', '.join(STEPS)}")
    models = None if models is None else Path(models)
    if models is not None and not models.is_dir():
        raise InputError(f"{models}: no such folder of models; accepted is one with {', '.join(MODELS)}")
    return [make(models) for name, make in STEPS.items() if names is None or name in names]
