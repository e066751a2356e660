"""Borders of acts of the hands moved to where these clearly rest: models see an act's window, but not sharply."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from data_pipelines.annotation.schema import MOVING_PARTS, SHORTEST_ACT, STILL, Act, Draft

REACH = 0.3  # seconds
BESIDE = 0.5  # seconds of the act beside a rest, in which the motion has to rise
RISE = 3.0  # times the speed of the rest
COARSEST = 0.2  # seconds between values of a profile that still shows where it rests
NOTHING = 1e-6  # seconds, of rounding


def snap_borders(draft: Draft, motion: Float[np.ndarray, " n"], seconds: float) -> Draft:
    """The draft with each border at the lowest clear rest of the hands within 0.3 s, if there is one, in tenths.

    A rest is a minimum among the slowest of the clip, beside which the act moves three times as fast. Borders of acts
    of other parts than the motion was measured of stay, as do those at the clip's ends; acts that touch go on touching,
    and none is made shorter than an act may be.

    motion: speeds of the hands in n equal steps from 0 to `seconds`, NaN where they are not seen, which is no rest; a
    profile coarser than 0.2 s moves nothing.
    """
    if np.isnan(motion).all() or seconds / len(motion) > COARSEST:
        return draft
    times = (np.arange(len(motion)) + 0.5) * (seconds / len(motion))
    step, acts = seconds / len(motion), draft.acts
    for border in sorted({time for act in draft.acts for time in (act.start, act.end)}):
        beginning = [act.body_part for act in draft.acts if act.start == border]
        ending = [act.body_part for act in draft.acts if act.end == border]
        if not {*beginning, *ending} <= {*MOVING_PARTS}:
            continue
        rests = _clear_rests(motion, round(BESIDE / step), bool(beginning), bool(ending))
        rest = _rest(border, times[rests], motion[rests])
        if rest is None or border < NOTHING or border > seconds - NOTHING:
            continue
        moved = tuple(
            replace(act, start=rest if old.start == border else act.start, end=rest if old.end == border else act.end)
            for old, act in zip(draft.acts, acts, strict=True)
        )
        acts = moved if _possible(moved) else acts
    return replace(draft, acts=acts)


def _minima(motion: Float[np.ndarray, " n"]) -> np.ndarray:
    """Where neither neighbour is lower; the first and the last value are none, as only one side of them is known."""
    inner = (motion[1:-1] <= motion[:-2]) & (motion[1:-1] <= motion[2:])
    return 1 + np.flatnonzero(inner)


def _clear_rests(motion: Float[np.ndarray, " n"], beside: int, begins: bool, ends: bool) -> np.ndarray:
    """The minima beside which the motion rises: after them where an act begins, before them where one ends."""
    found, slow = [], np.nanpercentile(motion, STILL)
    for index in _minima(motion):
        after, before = motion[index : index + beside + 1], motion[max(index - beside, 0) : index + 1]
        rises = [np.nanmax(side) > RISE * motion[index] for side, asked in ((after, begins), (before, ends)) if asked]
        if all(rises) and motion[index] <= slow:
            found.append(index)
    return np.asarray(found, int)


def _rest(border: float, times: Float[np.ndarray, " m"], speeds: Float[np.ndarray, " m"]) -> float | None:
    """The time of the lowest of the minima that stay within reach when rounded; of equal ones the nearest."""
    tenths = times.round(1)
    near = np.flatnonzero(np.abs(tenths - border) <= REACH + NOTHING)
    if not len(near):
        return None
    return float(tenths[min(near, key=lambda i: (speeds[i], abs(times[i] - border)))])


def _possible(acts: tuple[Act, ...]) -> bool:
    long = all(act.end - act.start >= SHORTEST_ACT - NOTHING for act in acts)
    return long and all(first.end <= second.start for first, second in pairwise(acts))
