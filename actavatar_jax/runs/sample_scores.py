"""Lip synchrony of the sample videos of a training, where it has SyncNet's weights: figures among its metrics."""

import logging
from collections.abc import Callable
from pathlib import Path

import jax

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation import NotScored, load_syncnet, score_synchrony, summarise_synchrony
from actavatar_jax.evaluation.faces import open_boxes
from actavatar_jax.evaluation.published import require_file
from actavatar_jax.evaluation.synchrony import MIN_TRACKS
from actavatar_jax.functional import Params
from actavatar_jax.parallel import agreed, make_mesh, use_mesh
from actavatar_jax.training.course import Record, Visit

SYNCNET, FACE = "syncnet_v2.model", "face.onnx"

log = logging.getLogger(__name__)


def sample_folder(workdir: Path, step: int) -> Path:
    """Where the sample videos lie that were made after so many steps."""
    return workdir / "samples" / f"{step:07d}"


def with_scores(sample: Callable[[Params, int], None], models: Path, workdir: Path) -> Visit:
    """A visit that makes the sample videos, and then tells their scores (see `score_videos`).

    Raises:
      InputError: the folder `models` lacks a network, or has another one.
    """
    open_networks(models)  # what is wrong should show now, not at the first visit

    def visit(params: Params, step: int) -> Record | None:
        sample(params, step)
        with agreed():
            if jax.process_index() > 0:  # the first one writes the videos, and the metrics
                return None
            # Alone, by a device of its own: a program of the training's mesh is one of all processes.
            with use_mesh(make_mesh("1,1,1", jax.local_devices()[:1])):
                return score_videos(sample_folder(workdir, step), models)

    return visit


def score_videos(folder: Path, models: Path) -> Record:
    """`sample/sync_c`, `sample/sync_d` (means over the videos that have scores, left out where none has) and
    `sample/sync_coverage`, the share of the videos that have.

    The networks are opened for this visit alone: then memory is the training's again.
    """
    syncnet, find_faces = open_networks(models)
    results = []
    for video in sorted(folder.glob("*.mp4")):
        try:
            results.append(score_synchrony(video, syncnet, find_faces))
        except InputError as error:
            results.append(NotScored("unreadable", str(error)))
    summary = summarise_synchrony(results)
    log.info("Sample videos in %s: %s", folder.name, summary.line())
    record = {"sample/sync_coverage": summary.coverage[MIN_TRACKS[0]]}
    if summary.confidence is not None:
        record |= {"sample/sync_c": summary.confidence, "sample/sync_d": summary.distance}
    return record


def open_networks(models: Path):
    """SyncNet, and what finds faces for it. InputError where the folder lacks one, or has another."""
    paths = [require_file("Lip synchrony of sample videos", models / name, name) for name in (SYNCNET, FACE)]
    return load_syncnet(paths[0]), open_boxes(paths[1])
