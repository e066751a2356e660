"""Boxes of faces, frame by frame, linked to tracks of one face each. A box: left, top, width, height in pixels."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Linked = dict[int, Float[np.ndarray, "4"]]  # frame -> box

OVERLAP = 0.5  # intersection over union of a face with itself in the next frame
LOST = 25  # frames from one detection to the next, as the original counts them, after which a face is another
SPARSE_OVERLAP = 0.3  # of a face with itself some frames later, where not every frame is looked at


@dataclass(frozen=True)
class FaceTrack:
    """A face from the frame `first` on, with a box in every frame, found in `detections` of them; of frames between two
    that are looked at, the first one counts for the others."""

    first: int
    boxes: Float[np.ndarray, "F 4"]
    detections: int

    @property
    def size(self) -> float:
        """Mean width or height in pixels, the larger one."""
        return float(self.boxes[:, 2:].mean(0).max())


def find_tracks(frames: Sequence[Float[np.ndarray, "_ 4"]], cuts: Sequence[int] = ()) -> list[FaceTrack]:
    """The tracks in the boxes of every frame, the most seen first; none goes on over a cut.

    cuts: numbers of the frames with which another shot begins. Where a face was missed, its box moves evenly from where
    it was seen to where it is seen again.
    """
    shots = itertools.pairwise([0, *cuts, len(frames)])
    linked = [(start, one) for start, end in shots for one in link_boxes(frames[start:end], OVERLAP, LOST)]
    return _most_seen_first(_filled({start + i: box for i, box in one.items()}, 1) for start, one in linked)


def find_sparse_tracks(samples: Sequence[Float[np.ndarray, "_ 4"]], every: int) -> list[FaceTrack]:
    """As `find_tracks`, of the boxes of the frames 0, every, 2 every, ... of one shot."""
    linked = link_boxes(samples, SPARSE_OVERLAP, LOST // every)
    return _most_seen_first(_filled({every * i: box for i, box in one.items()}, every) for one in linked)


def link_boxes(frames: Iterable[Float[np.ndarray, "_ 4"]], overlap: float, lost: int) -> list[Linked]:
    """Boxes of one frame after the other that are one face, each linked to the one that it overlaps most.

    overlap: above which boxes are those of one face. lost: frames from one detection to the next that a face survives.
    """
    tracks: list[Linked] = []
    for index, boxes in enumerate(frames):
        recent = [track for track in tracks if index - _last(track) <= lost]
        overlaps = np.array([[box_overlap(track[_last(track)], box) for box in boxes] for track in recent])
        free = set(range(len(boxes)))
        while overlaps.size and overlaps.max() > overlap:
            which, box = np.unravel_index(overlaps.argmax(), overlaps.shape)
            recent[which][index] = boxes[box]
            free.remove(box)
            overlaps[which], overlaps[:, box] = 0, 0
        tracks += [{index: boxes[box]} for box in sorted(free)]
    return tracks


def box_overlap(one: Float[np.ndarray, "4"], two: Float[np.ndarray, "4"]) -> float:
    """Intersection over union of two boxes."""
    start = np.maximum(one[:2], two[:2])
    end = np.minimum(one[:2] + one[2:], two[:2] + two[2:])
    shared = np.prod(np.maximum(end - start, 0))
    return float(shared / (np.prod(one[2:]) + np.prod(two[2:]) - shared))


def _last(track: Linked) -> int:
    return next(reversed(track))


def _most_seen_first(tracks: Iterable[FaceTrack]) -> list[FaceTrack]:
    return sorted(tracks, key=lambda track: track.detections, reverse=True)


def _filled(linked: Linked, every: int) -> FaceTrack:
    seen = np.array(list(linked))
    frames = np.arange(seen[0], seen[-1] + 1)
    columns = np.array(list(linked.values()), float).T
    boxes = np.stack([np.interp(frames, seen, column) for column in columns], axis=1)
    return FaceTrack(int(seen[0]), boxes, (len(seen) - 1) * every + 1)
