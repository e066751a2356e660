"""Scores of many clips: every figure with a bootstrap interval, and every timing figure also against wrong windows.

A model that knows what actions look like but nothing of time can hit most windows. So each timing score is computed
again with the windows of other clips that have the same number of phases (`shuffled`), and with the actions of a clip
exchanged among its own windows (`swapped`). Only the distance from those says that timing was followed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, UInt8

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.measures import (
    LipCorrelation,
    Window,
    accuracy,
    boundary_error,
    centre,
    centre_correlation,
    hit,
    identity_drift,
    lip_correlation,
    psnr,
    psnr_of,
    satisfied,
    temporal_correctness,
    temporal_iou,
)
from actavatar_jax.evaluation.report import Report, correlations, mean_figure, median_figure

__all__ = [
    "Judgement",
    "LipCorrelation",
    "Report",
    "Truth",
    "accuracy",
    "boundary_error",
    "centre",
    "centre_correlation",
    "hit",
    "identity_drift",
    "lip_correlation",
    "psnr",
    "psnr_of",
    "satisfied",
    "score_clips",
    "temporal_correctness",
    "temporal_iou",
]


Frames = UInt8[np.ndarray, "frames h w 3"]
Mask = Bool[np.ndarray, "frames h w"]

REGIONS = ("hands", "mouth", "still")  # of the pictures, scored besides their whole


@runtime_checkable
class Cue(Protocol):
    """What was asked for: an action by name, from `start` to `end` seconds."""

    start: float
    end: float
    action: str


@dataclass(frozen=True, eq=False)
class Judgement:
    """What a judge saw in one clip."""

    names: tuple[str, ...]  # of the A actions
    actions: Float[np.ndarray, "F A"]  # how clearly each is seen, 0 to 1
    opening: Float[np.ndarray, " F"]  # of the mouth, 0 to 1
    width: Float[np.ndarray, " F"]
    hands: Float[np.ndarray, "F 2 2"]  # left and right hand; x, y as fractions of the side
    embeddings: Float[np.ndarray, "F E"]  # of the appearance


@dataclass(frozen=True, eq=False)
class Truth:
    """What the clip should show. With `pictures`, (the judged frames, the true ones), PSNR is scored too.

    `regions` are masks, by the names of REGIONS, of parts of the pictures whose PSNR is scored besides.
    """

    cues: Sequence[Cue]
    opening: Float[np.ndarray, " F"]
    pictures: tuple[Frames, Frames] | None = None
    regions: Mapping[str, Mask] = field(default_factory=dict)


TIMED = ("hit", "accuracy", "iou", "correctness", "satisfied", "boundary")
_Rows = list[Float[np.ndarray, "_ figures"] | None]  # of each clip that has any: of every phase the figures of TIMED


def score_clips(judgements: Sequence[Judgement], truths: Sequence[Truth]) -> Report:
    """Every figure of a set of clips; judgement i is of clip i.

    Phase figures are means over all phases of all clips (`boundary`: over those in which the action was seen at all),
    the others means over clips; intervals are bootstrapped over clips. A clip without a phase counts in the lip
    figures, the drift and PSNR alone.

    `psnr` is of all frames; `psnr_whole` and that of every region (`psnr_hands`, ...) are without the first one, which
    a model is given. Clips in which a region has no pixel, such as those without a raised hand, do not count in it.

    Raises:
      InputError: no clips, numbers that differ, an action unknown to the judge, a window outside its clip, or masks
        that are unknown or not of the pictures' shape.
    """
    if not truths or len(judgements) != len(truths):
        raise InputError(f"Got {len(judgements)} judgements of {len(truths)} clips; accepted is one of each clip.")
    names = [[cue.action for cue in truth.cues] for truth in truths]
    windows = [[(float(cue.start), float(cue.end)) for cue in truth.cues] for truth in truths]
    others = [[j for j, w in enumerate(windows) if j != i and len(w) == len(own)] for i, own in enumerate(windows)]
    phases = np.array([len(own) for own in windows], float)

    plain: _Rows = [_phases(*clip) if clip[1] else None for clip in zip(judgements, names, windows, strict=True)]
    shuffled: _Rows = [
        np.concatenate([_phases(judgement, names[i], windows[j]) for j in others[i]])
        if windows[i] and others[i]
        else None
        for i, judgement in enumerate(judgements)
    ]
    swapped: _Rows = [
        _phases(judgement, names[i][1:] + names[i][:1], windows[i]) if len(windows[i]) > 1 else None
        for i, judgement in enumerate(judgements)
    ]
    lips = [lip_correlation(j.opening, truth.opening) for j, truth in zip(judgements, truths, strict=True)]
    figures = {}
    for suffix, rows in (("", plain), ("_shuffled", shuffled), ("_swapped", swapped)):
        for name in TIMED:
            values, shares = _means(rows, name)
            figures[name + suffix] = mean_figure(values, phases * shares)
    pairs = zip(*(_means(rows, "iou")[0] for rows in (plain, shuffled)), strict=True)
    gap = [own - wrong if own is not None and wrong is not None else None for own, wrong in pairs]
    figures["iou_gap"] = mean_figure(gap, phases)
    figures |= correlations(*_centres(judgements, names, windows))
    figures |= _lip_figures(judgements, truths, lips)
    figures["drift"] = mean_figure([identity_drift(judgement.embeddings) for judgement in judgements])
    figures["psnr"] = mean_figure([psnr(*truth.pictures) if truth.pictures else None for truth in truths])
    figures |= _region_figures(truths)
    return Report(len(truths), {name: figure for name, figure in figures.items() if figure.clips})


def _means(rows: _Rows, name: str) -> tuple[list[float | None], Float[np.ndarray, " N"]]:
    """Of each clip the mean of a figure of TIMED over its phases that have it, and the share of these."""
    columns = [np.empty(0) if row is None else row[:, TIMED.index(name)] for row in rows]
    there = [column[~np.isnan(column)] for column in columns]
    shares = [len(own) / max(len(column), 1) for own, column in zip(there, columns, strict=True)]
    return [float(own.mean()) if len(own) else None for own in there], np.array(shares)


def _phases(judgement: Judgement, names: Sequence[str], windows: Sequence[Window]) -> Float[np.ndarray, "P figures"]:
    """The figures of TIMED for every phase of one clip."""
    rows = []
    for name, window in zip(names, windows, strict=True):
        column = _column(judgement, name)
        curve = judgement.actions[:, column]
        rows.append(
            (
                hit(curve, window),
                accuracy(judgement.actions, column, window),
                temporal_iou(curve, window),
                temporal_correctness(curve, window),
                satisfied(curve, window),
                boundary_error(curve, window),
            )
        )
    return np.array(rows, float)


def _column(judgement: Judgement, name: str) -> int:
    if name not in judgement.names:
        raise InputError(f"The judge does not know the action '{name}'; it knows {', '.join(judgement.names)}.")
    return judgement.names.index(name)


def _centres(
    judgements: Sequence[Judgement], names: list[list[str]], windows: list[list[Window]]
) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """Seconds of what was seen and of what was asked for, of the single-phase clips."""
    single = [i for i, own in enumerate(windows) if len(own) == 1]
    seen = [centre(judgements[i].actions[:, _column(judgements[i], names[i][0])]) for i in single]
    return np.array(seen, float), np.array([sum(windows[i][0]) / 2 for i in single], float)


def _lip_figures(judgements: Sequence[Judgement], truths: Sequence[Truth], lips: list[LipCorrelation]) -> dict:
    """`lip_shuffled` is the best lag's correlation with other clips' speech: what chance gives."""
    chance = []
    for i, judgement in enumerate(judgements):
        others = [t.opening for j, t in enumerate(truths) if j != i and len(t.opening) == len(judgement.opening)]
        values = [lip_correlation(judgement.opening, opening).best for opening in others]
        chance.append(float(np.mean(values)) if values else None)
    return {
        "lip": mean_figure([lip.best for lip in lips]),
        "lip_at_zero": mean_figure([lip.at_zero for lip in lips]),
        "lip_shuffled": mean_figure(chance),
        "lag": median_figure([float(lip.lag) for lip in lips]),
        "lag_within_1": mean_figure([float(abs(lip.lag) <= 1 and lip.best > 0) for lip in lips]),
    }


def _region_figures(truths: Sequence[Truth]) -> dict:
    """`psnr_whole`, and `psnr_NAME` of every region."""
    values = {name: [None] * len(truths) for name in ("whole", *REGIONS)}
    for i, truth in enumerate(truths):
        if unknown := set(truth.regions) - set(REGIONS):
            raise InputError(f"Got a region '{min(unknown)}' of clip {i}; accepted are {', '.join(REGIONS)}.")
        if truth.regions and truth.pictures is None:
            raise InputError(f"Got regions of clip {i} without its pictures; accepted are both or pictures alone.")
        if truth.pictures:
            frames, true = truth.pictures
            everywhere = np.broadcast_to(np.True_, true.shape[:-1])
            for name, mask in {"whole": everywhere, **truth.regions}.items():
                value = psnr_of(frames, true, mask)
                values[name][i] = None if math.isnan(value) else value
    return {f"psnr_{name}": mean_figure(column) for name, column in values.items()}
