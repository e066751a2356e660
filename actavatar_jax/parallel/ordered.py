"""Ordered rules over parameter names: the one way in which freezing, rates and cuts over a mesh are told."""

import re
from collections.abc import Sequence
from typing import Any


def first_match(name: str, rules: Sequence[tuple[str, Any]]) -> int | None:
    """The number of the first rule (regex, value) whose regex is the whole '/' name; None where there is none."""
    return next((i for i, (regex, _) in enumerate(rules) if re.fullmatch(regex, name)), None)
