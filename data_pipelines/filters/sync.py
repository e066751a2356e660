"""Whether lips and sound fit, and by how many frames they are apart: SyncNet's measure, as for videos that are made."""

import multiprocessing
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from actavatar_jax.synchrony import Features, NotScored, score_synchrony
from data_pipelines.filters.faces import detect_faces, make_faces_step
from data_pipelines.filters.models import find_models
from data_pipelines.table import Clip, Skip, Step, clip_path, digest


def make_sync_step(models: Path | None) -> Step:
    found = find_models(models, "face.onnx", "syncnet_v2.model")
    if found is None:
        return Step("sync", MeasureSync(None))
    make_faces_step(models), _load(found[1])
    return Step("sync", MeasureSync(found), digest("2", *found))


@dataclass(frozen=True)
class MeasureSync:
    """Columns: available, confidence (Sync-C), distance (Sync-D), offset (frames by which the sound comes late: the
    negative of what SyncNet's own program prints). A face may be of any size: a rule on `faces.height_px` judges it."""

    models: tuple[Path, Path] | None

    def __call__(self, clip: Clip, clip_dir: Path) -> dict[str, Any]:
        if self.models is None:
            return {"available": False}
        detector, syncnet = self.models
        find_faces = partial(detect_faces, model=detector)
        found = score_synchrony(clip_path(clip, clip_dir), _load(syncnet), find_faces, min_face=0)
        if isinstance(found, NotScored):
            raise Skip(found.reason, found.detail)
        scores = found.scores
        return {
            "available": True,
            "confidence": scores.confidence,
            "offset": -scores.offset,
            "distance": scores.distance,
        }


@cache
def _load(path: Path) -> Features:
    import jax

    from actavatar_jax.synchrony.syncnet import load_syncnet

    if multiprocessing.parent_process() is not None:
        jax.config.update("jax_platforms", "cpu")  # workers are many, and would each take all of an accelerator
    return load_syncnet(path)
