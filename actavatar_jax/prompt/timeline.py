"""A text chart of what happens when: a bar for each row under a time axis."""

from collections.abc import Sequence

import numpy as np

from actavatar_jax.prompt.text import seconds

Row = tuple[str, float, float, str]  # label, start and end in seconds, text


def draw_timeline(rows: Sequence[Row], length: float) -> str:
    """The chart of `rows` on an axis from 0 to `length` seconds."""
    axis = _Axis(length)
    margin = max(len(label) for label, *_ in rows)
    lines = [f"{label:<{margin}}  {axis.bar(start, end)}  {text}" for label, start, end, text in rows]
    return "\n".join(line.rstrip() for line in [f"{'':<{margin}}  {axis.ticks()}", *lines])


class _Axis:
    """A time axis of 48 columns from 0 to `length` seconds."""

    columns = 48

    def __init__(self, length: float):
        self.length = max(length, 0.1)

    def column(self, time: float) -> int:
        return round(self.columns * min(max(time, 0.0), self.length) / self.length)

    def bar(self, start: float, end: float) -> str:
        first = min(self.column(start), self.columns - 1)
        return (" " * first + "█" * max(self.column(end) - first, 1)).ljust(self.columns)

    def ticks(self) -> str:
        step = next(s for n in range(-1, 7) for s in (10.0**n, 2 * 10.0**n, 5 * 10.0**n) if self.length / s <= 8)
        line = [" "] * (self.columns + 8)
        for time in np.arange(0, self.length + step / 100, step):
            text = f"{seconds(time)}s"
            line[self.column(time) : self.column(time) + len(text)] = text
        return "".join(line)
