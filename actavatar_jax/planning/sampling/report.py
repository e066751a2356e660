"""Plans of videos as text and as JSON."""

from collections.abc import Sequence
from pathlib import Path

from actavatar_jax.planning.chips import GIB
from actavatar_jax.planning.sampling.plan import DISK, Plan
from actavatar_jax.storage import write_json

HEADER = ("machine", "mesh", "size", "frames", "weights", "peak GiB", "while", "left GiB", "step s >=", "video s >=")
STEP = "step"


def describe(one: Plan) -> str:
    """A small table of one plan."""
    lines = [
        f"{_machine(one)}: {_size(one)} pixels, {_frames(one)} ({one.tokens} tokens), {one.branches} branches, "
        f"{_weights(one)}, attention {one.attention}",
        "",
        f"{'weights':<26}{'GiB':>8}   between uses",
    ]
    for part, size in one.weights.items():
        lines.append(f"  {part:<24}{_gib(size):>8}   {one.residences[part]}")
    header = f"{'program':<26}{'times':>8}{'inside GiB':>12}{'in all GiB':>12}"
    lines += ["", header + (f"{'s each >=':>12}" if one.seconds else "")]
    for p in one.programs:
        row = f"  {p.name:<24}{p.times:>8}{_gib(p.inside):>12}{_gib(one.total(p)):>12}"
        lines.append(row + (f"{p.seconds:>12.3f}" if one.seconds else ""))
    fits = f"fits, {_gib(one.headroom)} left" if one.fits else f"does not fit, {_gib(-one.headroom)} too many"
    lines += ["", f"{'peak':<26}{_gib(one.peak):>8} of {_gib(one.capacity)} GiB, {one.worst.name}: {fits}"]
    if one.seconds:
        lines.append(f"{'video':<26}{one.seconds:>8.1f} s or more")
    assumed = f"{_gib(one.stored)} GiB, if they come at {DISK / 1e9:g} GB/s"
    lines += [
        f"{'weights from files':<26}{one.load_seconds:>8.1f} s for {assumed}",
        f"{'compiled in':<26}{one.compile_seconds:>8.0f} s",
    ]
    return "\n".join(lines)


def summary(one: Plan) -> str:
    """A plan in a sentence that has no end yet."""
    return (
        f"A video of {_size(one)} pixels and {_frames(one)} takes {_gib(one.peak)} GiB of the device at its peak "
        f"({one.worst.name}), and there are {_gib(one.capacity)}"
    )


def compare(plans: Sequence[Plan]) -> str:
    """A line for each plan, under a header."""
    rows = [HEADER, *map(row, plans)]
    widths = [max(len(cells[i]) for cells in rows) for i in range(len(HEADER))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)) for cells in rows)


def row(one: Plan) -> tuple[str, ...]:
    """The cells of a plan under `HEADER`. One that was given up early has no times."""
    step = next((p.seconds for p in one.programs if p.name == STEP and p.seconds), None)
    known = step is not None and one.fits
    return (
        one.where,
        _mesh(one) or "-",
        _size(one),
        str(one.frames) if one.frames == one.at_once else f"{one.frames} by {one.at_once}",
        _weights(one),
        _gib(one.peak),
        one.worst.name,
        _gib(one.headroom),
        f"{step:.2f}" if known else "-",
        f"{one.seconds:.0f}" if known else "-",
    )


def verdict(plans: Sequence[Plan]) -> str:
    """What to change, in a phrase, after the plans that were tried; the first one is what was asked for."""
    asked, *tried = plans
    # Of those that change the same options, the last one that fits gives up least.
    best = {tuple(changes(asked, one)): one for one in tried if one.fits}
    if best:
        ways = (" ".join([*changes(asked, one).values(), f"({_gib(one.headroom)} GiB left)"]) for one in best.values())
        return f"it fits with {', or with '.join(ways)}"
    smallest = min(plans, key=lambda one: one.peak - one.capacity)
    return f"nothing that was tried fits: {_gib(smallest.peak)} GiB at least"


def changes(asked: Plan, other: Plan) -> dict[str, str]:
    """Options that make the one plan the other, by what they change."""
    options = {}
    if (other.where, other.mesh) != (asked.where, asked.mesh):
        options["cluster"] = f"--topology {other.where} --mesh {_mesh(other)}"
    if other.quantize != asked.quantize:
        options["quantize"] = f"--quantize {other.quantize}"
    if other.size != asked.size:
        options["size"] = "--height {} --width {}".format(*other.size)
    if other.frames != asked.frames:
        options["frames"] = f"--frames {other.frames}"
    elif other.at_once != asked.at_once:
        options["frames"] = f"--chunk-frames {other.at_once}"
    return options


def save(path: Path, plans: Sequence[Plan]) -> None:
    """Plans with all their figures, in bytes and seconds, as a JSON list."""
    write_json(path, [one.to_dict() for one in plans])


def _machine(one: Plan) -> str:
    return f"{one.where}, mesh {_mesh(one)} (data,fsdp,seq)" if one.mesh else one.where


def _weights(one: Plan) -> str:
    return one.quantize or one.dtype


def _frames(one: Plan) -> str:
    return f"{one.frames} frames" + (f" by {one.at_once}" if one.at_once < one.frames else "")


def _mesh(one: Plan) -> str:
    return ",".join(map(str, one.mesh or ()))


def _size(one: Plan) -> str:
    return f"{one.size[0]}x{one.size[1]}"


def _gib(size: int | float) -> str:
    gib = size / GIB
    return f"{gib:.1f}" if abs(gib) >= 1 else f"{gib:.2g}"
