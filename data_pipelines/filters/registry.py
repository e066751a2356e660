"""What a clip is like, one small file per question: a step goes from a prepared clip to a few columns of the table.

A filter rejects nothing; thresholds apply at selection. `FILTERS` is in order of cost, cheap first. Filters that need a
model take it from a folder of files with agreed names (`MODELS`) and say `available: False` without it.
"""

from collections.abc import Sequence
from pathlib import Path

from actavatar_jax.errors import InputError
from actavatar_jax.storage import check_on_disk
from data_pipelines.filters.duplicates import make_duplicates_step
from data_pipelines.filters.faces import make_faces_step
from data_pipelines.filters.models import MODELS
from data_pipelines.filters.motion import make_motion_step
from data_pipelines.filters.probe import make_probe_step
from data_pipelines.filters.quality import make_quality_step
from data_pipelines.filters.shots import make_shots_step
from data_pipelines.filters.sync import make_sync_step
from data_pipelines.filters.text_area import make_text_area_step
from data_pipelines.filters.voice import make_voice_step
from data_pipelines.table import Step

FILTERS = {
    "probe": make_probe_step,
    "voice": make_voice_step,
    "duplicates": make_duplicates_step,
    "shots": make_shots_step,
    "quality": make_quality_step,
    "text_area": make_text_area_step,
    "faces": make_faces_step,
    "sync": make_sync_step,
    "motion": make_motion_step,
}


def make_steps(names: Sequence[str] | None = None, models: str | Path | None = None) -> list[Step]:
    """The steps called `names` (default: all), cheap first, with the models in the folder `models`.

    Raises InputError for an unknown name, a folder that is not there, a model file that is broken or another model.
    """
    unknown = [name for name in names or () if name not in FILTERS]
    if unknown:
        raise InputError(f"there is no filter '{unknown[0]}'; accepted are {', '.join(FILTERS)}")
    if models is not None:
        check_on_disk(models)
    models = None if models is None else Path(models)
    if models is not None and not models.is_dir():
        raise InputError(f"{models}: no such folder of models; accepted is one with {', '.join(MODELS)}")
    return [make(models) for name, make in FILTERS.items() if names is None or name in names]
