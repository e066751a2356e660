"""Where a text is cut: at its time windows, as `notation` has them."""

import re
import unicodedata
from dataclasses import dataclass, field
from itertools import pairwise

from actavatar_jax.prompt import notation
from actavatar_jax.prompt.text import to_seconds
from actavatar_jax.storage import shown

FRAMES_PER_SECOND = 25  # of `media.clock`, which this room does not know

Block = tuple[tuple[float, float] | None, str]


@dataclass
class Split:
    """A text in blocks, (None, base) and ((start, end), action) for each window; stamps that are wrong; ranges of time
    that are read as words."""

    blocks: list[Block]
    problems: list[str] = field(default_factory=list)
    loose: list[str] = field(default_factory=list)


def split(text: str, duration: float | int | None = None) -> Split:
    """Cuts a clean text, or lines of it, at its windows; `duration` (seconds of the clip) is what shares are of."""
    text = f"\n{text}" if "\n" in text else text  # the first line begins as the others do
    found = Split([])
    cuts = []  # (where the block before ends, where this block's text begins, window)
    for candidate in notation.CANDIDATE.finditer(text):
        times, verdict = _judge(candidate, text, cuts[-1][1] if cuts else 0)
        if verdict == "window" and (window := _to_window(times, duration)):
            before, end = _before(text, candidate), notation.AFTER.match(text, candidate.end()).end()
            end = notation.CLOSING.match(text, end).end() if before["mark"] else end
            cuts.append((before.start(), end, window))
        elif verdict == "window":
            found.problems.append(f"{shown(candidate.group())} is a share of a clip whose length is not known here")
        elif verdict == "wrong":
            hint = "" if found.problems else f" (accepted is {notation.ACCEPTED})"
            found.problems.append(f"{shown(_stamp(candidate))} is no time window{hint}")
        elif verdict == "loose":
            found.loose.append(times.group())
    edges = [(0, 0, None), *cuts, (len(text), len(text), None)]
    found.blocks = [(window, text[begin:end].strip()) for (_, begin, window), (end, _, _) in pairwise(edges)]
    for _, block in found.blocks:
        labels = notation.LABEL_ALONE.findall(block)
        found.problems += [f"'{label}:' has no time window after it, such as [0-2s]" for label in labels]
    return found


def _judge(candidate: re.Match, text: str, last: int) -> tuple[re.Match | None, str]:
    """The times of a candidate and whether it is a window, wrong, loose (words that tell a time) or prose.

    `last` is where the text behind the window before it begins.
    """
    if candidate["bare"]:
        return candidate, _judge_bare(candidate, text, last)
    square = candidate["square"] is not None
    inside = _plain(candidate["square"] if square else candidate["round"])
    label = notation.LABEL.match(inside)
    inside = inside[label.end() :] if label else inside
    times = notation.WINDOW.match(inside)
    if times and (square or _tells_time(times)):
        whole = times.end() == len(inside) and (candidate["closed"] or candidate["shut"])
        return times, "window" if whole else "wrong"
    if square and candidate["closed"] and (_is_almost(inside) or (label and not inside)):
        return None, "wrong"
    times = notation.WINDOW.search(inside)
    return times, "loose" if times and _tells_time(times) else "prose"


def _judge_bare(times: re.Match, text: str, last: int) -> str:
    if not _tells_time(times):
        return "prose"
    before = _before(text, times)
    begin = before.start()
    if text[begin - 1 : begin] == "\n" and ":" in times["start"] + times["end"]:
        return "window"
    opens = begin <= last or text[last:begin].isspace() or before["marker"] or before["label"]
    opens = opens or notation.SENTENCE.search(text, max(0, begin - 2), begin)
    return "window" if opens and notation.COLON.match(text, times.end()) else "loose"


def _tells_time(times: re.Match) -> bool:
    """Whether units or colons say that two numbers are times. Shares may be of anything."""
    units = [times[name] for name in ("unit", "start_unit", "end_unit") if times[name]]
    return "%" not in units and bool(units or ":" in times["start"] + times["end"])


def _is_almost(inside: str) -> bool:
    """Whether square brackets hold what may be meant as times."""
    two = len(notation.NUMBERS.findall(inside)) > 1
    return bool(
        notation.ALMOST.fullmatch(inside) or notation.RANGE.search(inside) or (two and notation.MEASURE.search(inside))
    )


def _to_window(times: re.Match, duration: float | int | None) -> tuple[float, float] | None:
    """Start and end in seconds; None for shares of nobody knows what."""
    shared = times["unit"] or times["end_unit"] or times["start_unit"] or "s"
    both = [(times[name], (times[f"{name}_unit"] or shared).lower()) for name in ("start", "end")]
    if duration is None and any(unit == "%" for _, unit in both):
        return None
    start, end = (_in_seconds(time, unit, duration) for time, unit in both)
    return start, end


def _in_seconds(time: str, unit: str, duration: float | int | None) -> float:
    number = to_seconds(time)
    if ":" in time:
        return number
    match unit[:2]:
        case "%":
            return number * duration / 100
        case "ms" | "mi":
            return number / 1000
        case "f" | "fr" | "帧" | "フレ":
            return number / FRAMES_PER_SECOND
        case _:
            return number


def _before(text: str, candidate: re.Match) -> re.Match:
    """What stands before a window and belongs to it: a label, marks of lists and of bold letters."""
    return notation.BEFORE.search(text, max(0, candidate.start() - 40), candidate.start())


def _plain(inside: str) -> str:
    """In one line, without letters that are not seen, such as those of writing directions."""
    return " ".join("".join(letter for letter in inside if unicodedata.category(letter) != "Cf").split())


def _stamp(candidate: re.Match) -> str:
    """A faulty stamp as messages quote it: without the text behind it where no bracket ends it."""
    if candidate["closed"] or candidate["shut"]:
        return candidate.group()
    times = notation.WINDOW.search(candidate.group())
    return candidate.group()[: times.end()] if times else candidate.group()
