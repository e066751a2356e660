"""Whether lips and sound fit, and by how many frames they are apart: SyncNet's measure, on a fifth of what it looks at.

Videos that are made are measured on every frame. Here the faces are those of `faces`, in every fifth frame, found by
that filter or, where it has not run, in the same way; and of SyncNet's windows of five frames, those end to end are
compared with the sound, so that each frame is seen once.
"""

import multiprocessing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from actavatar_jax.synchrony import Features, NotScored, score_sparsely
from data_pipelines.filters.faces import FACES_EVERY, Boxes, find_faces, known_faces, make_faces_step
from data_pipelines.filters.models import find_models
from data_pipelines.filters.versions import make_version
from data_pipelines.table import Clip, Skip, Step, clip_path

# Modules whose constants decide what is measured.
MEASURE = tuple(f"actavatar_jax.synchrony.{name}" for name in ("measure", "tracks", "crops", "mfcc", "scores"))


def make_sync_step(models: Path | None) -> Step:
    found, parts = find_models(models, "sync"), (__name__, f"{__package__}.faces", *MEASURE)
    if found is None:
        return Step("sync", MeasureSync(None), make_version(*parts))
    _load(found[1])
    return Step("sync", MeasureSync(found, make_faces_step(models).version), make_version(*parts, models=found))


@dataclass(frozen=True)
class MeasureSync:
    """Columns: available, track (frames in which the face is found, as every fifth one tells), confidence (Sync-C),
    distance (Sync-D), offset (frames by which the sound comes late: the negative of what SyncNet's own program prints).
    A face may be of any size: a rule on `faces.height_px` judges it."""

    models: tuple[Path, Path] | None
    faces: str | None = None  # version of the step whose columns are read

    def __call__(self, clip: Clip, clip_dir: Path) -> dict[str, Any]:
        if self.models is None:
            return {"available": False}
        detector, syncnet = self.models
        path = clip_path(clip, clip_dir)

        def find_boxes() -> list[Boxes]:
            known = known_faces(clip, clip_dir, self.faces)
            return find_faces(path, detector)[1] if known is None else known

        found = score_sparsely(path, _load(syncnet), find_boxes, FACES_EVERY)
        if isinstance(found, NotScored):
            raise Skip(found.reason, found.detail)
        scores = found.scores
        return {
            "available": True,
            "track": found.detections,
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
