"""Texts of prompts: cleaned as the backbone cleans them, and times as they are written in them."""

import html
import re
import unicodedata
from collections.abc import Callable

import ftfy
from ftfy.fixes import unescape_html

from actavatar_jax.errors import InputError
from actavatar_jax.storage import shown

MAX_CHARACTERS = 20_000  # of one text; the text encoder's 512 tokens are some thousands

_PASSES = 8
_FIXES = ftfy.TextFixerConfig(unescape_html=False, explain=False)  # entities are replaced here, once a pass
_NESTED = re.compile(r"&(?:(?:amp|AMP|#0{0,9}38|#[xX]0{0,9}26);)+")  # &amp;amp;amp; would need a pass for each amp;
_HALF = re.compile("[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]")


def clean(text: str) -> str:
    """The backbone's cleaning (repair of broken Unicode, HTML entities, whitespace), repeated until it changes nothing.

    The repetition makes a clean text pass the backbone's own single cleaning unchanged. InputError for what is no text,
    for more than 20,000 characters and for half of a character, as text in another encoding than UTF-8 has it.
    """
    return _settle(text, _join)


def clean_lines(text: str) -> str:
    r"""As `clean`, but lines stay lines, with \n between them and none of them empty."""
    return _settle(text, lambda text: "\n".join(filter(None, map(_join, text.split("\n")))))


def tells(text: str) -> bool:
    """Whether a text has more than punctuation."""
    return any(unicodedata.category(letter)[0] in "LNS" for letter in text)


def to_seconds(time: str) -> float:
    """`7.5`, `0:07.5`, `0:00:07,5` or `0m7.5` as seconds."""
    sign = -1.0 if time.startswith("-") else 1.0
    total = 0.0
    for part in re.split(r":| ?m(?:in)? ?", time.lstrip("-").replace(",", ".").lower()):
        total = 60 * total + float(part)
    return sign * total


def seconds(time: float) -> str:
    """`2` or `2.5`: one decimal, and none when it would be zero."""
    return f"{time:z.1f}".removesuffix(".0")


def _settle(text: str, join: Callable[[str], str]) -> str:
    if not isinstance(text, str):
        raise InputError(f"A text of the prompt is {shown(text)}; accepted is text.")
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"A text of the prompt has {len(text):,} characters; accepted are up to {MAX_CHARACTERS:,}.")
    if half := _HALF.search(text):
        raise InputError(
            f"A text of the prompt holds half of a character, {shown(half.group())}, at place {half.start() + 1}; "
            "accepted is text in UTF-8."
        )
    for _ in range(_PASSES):
        plain = html.unescape(html.unescape(unescape_html(_NESTED.sub("&", text))))
        cleaned = join(ftfy.fix_text(plain, _FIXES))
        if cleaned == text:
            break
        text = cleaned
    return text


def _join(text: str) -> str:
    return " ".join(text.split())
