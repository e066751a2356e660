"""The text form of structured prompts: cleaning, time stamps, and where a text is cut at them."""

import html
import re
from itertools import pairwise

import ftfy


def clean(text: str) -> str:
    """The backbone's cleaning (repair of broken Unicode, HTML entities, whitespace), repeated until it changes nothing.

    The repetition makes a clean text pass the backbone's own single cleaning unchanged.
    """
    for _ in range(8):
        cleaned = " ".join(html.unescape(html.unescape(ftfy.fix_text(text))).split())
        if cleaned == text:
            break
        text = cleaned
    return text


_TIME = r"-?(?:[0-9]{1,6}(?::[0-5]?[0-9]){0,2}(?:\.[0-9]+)?|\.[0-9]+)"
_DASH = r"\s*[-\u2010-\u2015\u2212]\s*"
_STAMP = re.compile(rf"\s*({_TIME})\s*s?{_DASH}({_TIME})\s*s?\s*")
_ALMOST_TIME = r"-?[0-9.:,]*[0-9][0-9.:,]*\s*(?:s|secs?|seconds?|ms|m|mins?|minutes?)?|[a-zA-Z?]|start|end|"
_ALMOST_STAMP = re.compile(
    rf"\s*(?:(?:{_ALMOST_TIME})(?:{_DASH}|\s+to\s+)(?:{_ALMOST_TIME})|[0-9.:,]*[0-9][0-9.:,]*\s*s?)\s*"
)
_OPEN_STAMP = re.compile(rf"\s*{_TIME}\s*s?{_DASH}{_TIME}")
_BRACKET = re.compile(r"\[([^\[\]]*)(\]?)")
_LABEL_BEFORE = re.compile(r"(?:^|(?<=\s))Phase[-\s]?[0-9]+\s*:?\s*$", re.IGNORECASE)
_LABEL_ALONE = re.compile(r"(?:^|(?<=\s))(Phase-[0-9]+)\s*:", re.IGNORECASE)
_COLON = re.compile(r"\s*:?")

Block = tuple[tuple[float, float] | None, str]


def split(text: str) -> tuple[list[Block], list[str]]:
    """Cut clean text at its stamps: [(None, base), ((start, end), action), ...], and name stamps that are none."""
    cuts, problems = [], []  # cuts: (where the block before ends, where this block's text begins, window)
    for bracket in _BRACKET.finditer(text):
        inside, closed = bracket.groups()
        if closed and (stamp := _STAMP.fullmatch(inside)):
            before = _LABEL_BEFORE.search(text, 0, bracket.start()) or bracket
            after = _COLON.match(text, bracket.end())
            cuts.append((before.start(), after.end(), tuple(map(to_seconds, stamp.groups()))))
        elif closed and len(inside) < 40 and _ALMOST_STAMP.fullmatch(inside):
            problems.append(f"'{bracket.group()}' is no time window; [0-2s] or [00:00-00:02] is accepted")
        elif not closed and _OPEN_STAMP.match(inside):
            problems.append(f"the time window '{bracket.group().strip()[:20]}' has no closing bracket")
    edges = [(0, 0, None), *cuts, (len(text), len(text), None)]
    blocks = [(window, text[begin:end].strip()) for (_, begin, window), (end, _, _) in pairwise(edges)]
    for _, block in blocks:
        problems += [f"'{label}:' has no time window after it" for label in _LABEL_ALONE.findall(block)]
    return blocks, problems


def to_seconds(time: str) -> float:
    """`7.5`, `0:07.5` or `0:00:07.5` as seconds."""
    sign = -1.0 if time.startswith("-") else 1.0
    total = 0.0
    for part in time.lstrip("-").split(":"):
        total = 60 * total + float(part)
    return sign * total


def seconds(time: float) -> str:
    """`2` or `2.5`: one decimal, and none when it would be zero."""
    return f"{time:z.1f}".removesuffix(".0")
