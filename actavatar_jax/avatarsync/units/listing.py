"""Units as a table for people: when each is spoken, what it comes from, and which frame shows its keyframe."""

from collections.abc import Sequence

from actavatar_jax.avatarsync.units.alignments import Alignment
from actavatar_jax.avatarsync.units.timing import Schedule
from actavatar_jax.avatarsync.units.units import Unit


def list_units(alignment: Alignment, units: Sequence[Unit], plan: Schedule) -> str:
    """One unit a line: its time in seconds, its name, its phonemes, and the frames of its keyframes, of which short
    units may have none; and a line that counts."""
    width = max([6, *(len(unit.name) + 2 for unit in units)])
    lines = [f"{'from':>7}{'to':>8}  {'unit':<{width}}{'phonemes':<14}frames"]
    for number, unit in enumerate(units):
        phonemes = " ".join(phoneme.symbol for phoneme in alignment.phonemes[slice(*unit.span)])
        frames = ", ".join(f"{keyframe.time:g}" for keyframe in plan.keyframes if keyframe.unit == number)
        lines.append(f"{unit.start:7.3f}{unit.end:8.3f}  {unit.name:<{width}}{phonemes:<14}{frames or '-'}")
    frames = f"{len(plan.keyframes)} keyframes of {len(plan.left)} frames"
    counts = f"{len(units)} units in {alignment.seconds:.2f} s: {frames}"
    return "\n".join([*lines, counts])
