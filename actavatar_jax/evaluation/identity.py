"""CSIM: whether the person of a video is the person of its reference picture, by a network that recognises faces."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.faces import Embed, FindMarks, align_face, open_embedder
from actavatar_jax.evaluation.report import mean_figure
from actavatar_jax.evaluation.results import IdentityScore
from actavatar_jax.evaluation.videos import Frame, Source, Videos, each_video
from actavatar_jax.media import load_image


def csim(
    references: Iterable[str | Path | Frame], videos: Videos, weights: str | Path | None, find_marks: FindMarks
) -> IdentityScore:
    """Cosine between the embeddings of a reference's face and of each frame's, mean over the frames with a face.

    Args:
      references: a picture for each video, in order: a path or uint8 [h, w, 3].
      videos: as of `fid`.
      weights: path to an ArcFace network as ONNX; see `open_embedder`.
      find_marks: frame -> five marks of the face that counts (`faces.TEMPLATE` tells the order), or None; for example
        `open_yunet(path)`.

    Raises:
      InputError: there are no weights, a reference has no face, or there are not as many references as videos.
    """
    embed = open_embedder(weights)
    references, sources = list(references), list(each_video(videos))
    if len(references) != len(sources):
        raise InputError(f"Got {len(references)} references of {len(sources)} videos; accepted is one of each video.")
    values, frames = [], 0
    for number, (reference, source) in enumerate(zip(references, sources, strict=True)):
        cosines, count = reference_cosines(load_image(reference), source, embed, find_marks, f"Reference {number}")
        values.append(cosines)
        frames += count
    return _score(values, frames, Path(weights).name)


def reference_cosines(
    reference: Frame, source: Source, embed: Embed, find_marks: FindMarks, name: str
) -> tuple[Float[np.ndarray, " _"], int]:
    """The cosine of every frame with a face, and the number of all frames.

    Raises:
      InputError: the reference, told as `name`, has no face.
    """
    wanted = _embedding(reference, embed, find_marks)
    if wanted is None:
        raise InputError(f"{name} has no face that was found; accepted is a picture of the person.")
    found = [_embedding(frame, embed, find_marks) for frame in source.frames()]
    return np.array([wanted @ one for one in found if one is not None], float), len(found)


def _embedding(frame: Frame, embed: Embed, find_marks: FindMarks) -> Float[np.ndarray, " D"] | None:
    """Of length 1."""
    marks = find_marks(frame)
    if marks is None:
        return None
    vector = embed(align_face(frame, marks)).astype(float)
    return vector / np.linalg.norm(vector)


def _score(values: list[Float[np.ndarray, " _"]], frames: int, backbone: str) -> IdentityScore:
    means = [float(own.mean()) if len(own) else None for own in values]
    figure = mean_figure(means, np.array([len(own) for own in values], float))
    cosines = np.concatenate(values)
    return IdentityScore(
        measure="CSIM",
        value=figure.value,
        interval=(figure.low, figure.high) if figure.clips > 1 else None,
        frames=len(cosines),
        videos=len(values),
        backbone=backbone,
        coverage=len(cosines) / frames,
        lowest=float(np.percentile(cosines, 5)) if len(cosines) else float("nan"),
    )
