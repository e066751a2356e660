"""From an answer to a draft that holds, or to the faults of one that does not."""

from dataclasses import dataclass

from actavatar_jax.chat import Answer
from data_pipelines.annotation.checks import CHECKS
from data_pipelines.annotation.reading import Fault, parse_answer
from data_pipelines.annotation.repairs import REPAIRS
from data_pipelines.annotation.scene import Scene
from data_pipelines.annotation.schema import Draft
from data_pipelines.annotation.snapping import snap_borders


@dataclass(frozen=True)
class Verdict:
    """A draft that holds, put right where it needed to be, or the faults of one that does not."""

    draft: Draft | None
    faults: tuple[Fault, ...]
    repairs: tuple[str, ...]


def judge_answer(answer: Answer, scene: Scene) -> Verdict:
    """Reads, repairs and checks an answer; borders of a draft without fault are moved to where the motion rests."""
    draft, faults, repairs = parse_answer(answer)
    if draft is None:
        return Verdict(None, faults, repairs)
    for name, repair in REPAIRS.items():
        mended = repair(draft, scene)
        if mended != draft:
            draft, repairs = mended, (*repairs, name)
    faults = tuple(fault for check in CHECKS for fault in check(draft, scene))
    if faults:
        return Verdict(None, faults, repairs)
    if scene.motion is not None:
        snapped = snap_borders(draft, scene.motion, scene.seconds)
        if snapped != draft:
            draft, repairs = snapped, (*repairs, "snapped")
    return Verdict(draft, (), repairs)
