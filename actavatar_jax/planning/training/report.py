"""Plans as text and as JSON."""

from collections.abc import Sequence
from pathlib import Path

from actavatar_jax.planning.chips import GIB
from actavatar_jax.planning.training.planner import Plan
from actavatar_jax.storage import write_json

HEADER = ("mesh", "remat", "parts", "peak GiB", "left GiB", "compute s", "links s", "network s", "step s >=")


def describe(one: Plan) -> str:
    """A small table of one plan."""
    m = one.memory
    left = one.capacity - m.peak
    verdict = f"fits, {_gib(left)} left" if left >= 0 else f"does not fit, {_gib(-left)} too many"
    parts = f" in {one.micro_batches} micro-batches" if one.micro_batches > 1 else ""
    lines = [
        f"{one.topology}, mesh {_mesh(one)} (data,fsdp,seq): batch {one.batch}{parts}, remat {one.remat}, "
        f"attention {one.attention}",
        "",
        f"{'GiB of a device':<24}{_gib(m.peak):>10} of {_gib(one.capacity)}: {verdict}",
    ]
    if m.arguments is not None:
        rows = {
            "state and batch": m.arguments,
            "temporaries": m.temporaries,
            "output not in place": m.output - m.alias,
            "offloaded to the host": m.host,
        }
        lines += [f"  {name:<22}{_gib(size):>10}" for name, size in rows.items()]
        lines += ["", f"{'collectives of a step':<24}{'times':>10}{'GiB sent by a device':>24}"]
        for c in one.collectives:
            lines.append(f"  {c.kind + (' (network)' if c.across else ''):<22}{c.count:>10}{_gib(c.bytes):>24}")
    lines += [
        "",
        f"{'model PFLOP of a step':<24}{one.flops / 1e15:>10.2f}",
        f"{'seconds of a step':<24}{one.step_seconds:>10.2f} or more: compute {one.compute_seconds:.2f}, links "
        f"{one.link_seconds:.2f}, network {one.network_seconds:.2f}",
        f"{'compiled in':<24}{one.compile_seconds:>10.0f} s",
    ]
    if one.pairs:
        lines += ["", "A step of pairs", "", describe(one.pairs)]
    return "\n".join(lines)


def compare(plans: Sequence[Plan]) -> str:
    """A line for each plan, under a header."""
    rows = [HEADER, *map(row, plans)]
    widths = [max(len(cells[i]) for cells in rows) for i in range(len(HEADER))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)) for cells in rows)


def markdown(plans: Sequence[Plan]) -> str:
    """The same with the topology and the time to compile, as a table for a page."""
    rows = [("topology", *HEADER, "compiled in s"), *((p.topology, *row(p), f"{p.compile_seconds:.0f}") for p in plans)]
    rows.insert(1, ("---",) * len(rows[0]))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def row(one: Plan) -> tuple[str, ...]:
    """The cells of a plan under `HEADER`. What the compiler refused has no collectives to time."""
    times = (one.link_seconds, one.network_seconds, one.step_seconds)
    known = one.memory.arguments is not None
    return (
        _mesh(one),
        one.remat,
        str(one.micro_batches),
        _gib(one.peak),
        _gib(one.headroom),
        f"{one.compute_seconds:.2f}",
        *(f"{seconds:.2f}" if known else "-" for seconds in times),
    )


def verdict(plans: Sequence[Plan]) -> str:
    """What to change, after the plans that `advise` tried."""
    last = plans[-1]
    if last.fits:
        settings = f"--config.model.remat={last.remat} --config.mesh={_mesh(last)} --config.micro_batches="
        return f"It fits with {settings}{last.micro_batches}: {_gib(last.headroom)} GiB left."
    smallest = min(plans, key=lambda one: one.peak)
    return (
        f"Nothing that was tried fits: {_gib(smallest.peak)} GiB of a device at least, and there are "
        f"{_gib(smallest.capacity)}. Take more devices, or a smaller data.batch_size or bucket."
    )


def save(path: Path, plans: Sequence[Plan]) -> None:
    """Plans with all their figures, in bytes and seconds, as a JSON list."""
    write_json(path, [one.to_dict() for one in plans])


def _mesh(one: Plan) -> str:
    return ",".join(map(str, one.mesh))


def _gib(size: int | float) -> str:
    return f"{size / GIB:.1f}"
