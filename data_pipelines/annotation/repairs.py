"""Small slips of a draft, put right where that is safe; each repair is `(draft, scene) -> draft`."""

import math
from dataclasses import replace
from itertools import pairwise

from data_pipelines.annotation.scene import Scene
from data_pipelines.annotation.schema import Act, Draft

OVERHANG = 0.3  # seconds past the end that are a slip, and cut off
TOUCHING = 0.5  # seconds between two acts of the same words that are one act


def round_times(draft: Draft, scene: Scene) -> Draft:
    """Acts in the order of their starts, times in tenths of a second."""
    acts = (replace(act, start=_tenths(act.start), end=_tenths(act.end)) for act in draft.acts)
    return replace(draft, acts=tuple(sorted(acts, key=lambda act: (act.start, act.end))))


def clamp_ends(draft: Draft, scene: Scene) -> Draft:
    """Windows that reach a little past the end of the clip end with it."""
    acts = (
        replace(act, end=scene.end) if scene.end < act.end <= scene.end + OVERHANG + 1e-6 else act for act in draft.acts
    )
    return replace(draft, acts=tuple(acts))


def merge_repeats(draft: Draft, scene: Scene) -> Draft:
    """Acts of the same words, one right after the other, are one."""
    acts: list[Act] = []
    for act in draft.acts:
        if acts and acts[-1].words == act.words and abs(act.start - acts[-1].end) <= TOUCHING:
            speech = f"{acts[-1].speech} {act.speech}".strip()
            acts[-1] = replace(acts[-1], end=max(act.end, acts[-1].end), speech=speech)
        else:
            acts.append(act)
    return replace(draft, acts=tuple(acts))


def separate_overlaps(draft: Draft, scene: Scene) -> Draft:
    """Overlaps of at most half the shorter act are cut in the middle."""
    acts = list(draft.acts)
    for i, (first, second) in enumerate(pairwise(draft.acts)):
        overlap = first.end - second.start
        if 0 < overlap <= min(first.end - first.start, second.end - second.start) / 2 and first.end < second.end:
            middle = _tenths(second.start + overlap / 2)
            acts[i], acts[i + 1] = replace(acts[i], end=middle), replace(acts[i + 1], start=middle)
    return replace(draft, acts=tuple(acts))


# In this order, under the names that the table has for them.
REPAIRS = {"rounded": round_times, "clamped": clamp_ends, "merged": merge_repeats, "overlap": separate_overlaps}


def _tenths(time: float) -> float:
    return round(time, 1) if math.isfinite(time) else time
