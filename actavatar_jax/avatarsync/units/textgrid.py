"""TextGrid files of Praat, in the long and in the short text form: interval tiers by name.

Both forms hold the same values in the same order; the long one names them (`xmin = 0`) and numbers its parts. So the
values are read and the names are not: texts in quotation marks (doubled inside), numbers, and the flag <exists>.
"""

import re
from collections.abc import Iterator

from actavatar_jax.errors import InputError
from actavatar_jax.speech import Phoneme
from actavatar_jax.storage import shown

_VALUE = re.compile(
    r'"(?P<text>(?:[^"]|"")*)"'  # a text, which may hold line ends
    r"|<(?P<flag>exists|absent)>"
    r"|(?P<number>[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)(?=\s|$)"
    r"|\[[^\]]*\]|![^\n]*|[^\s\"<\[!]+"  # number of a part, comment, name
)
_KIND, _CLASS, _INTERVALS, _POINTS = "ooTextFile", "TextGrid", "IntervalTier", "TextTier"


def parse_textgrid(text: str, source: str) -> dict[str, tuple[Phoneme, ...]]:
    """Labelled intervals of every interval tier, times in seconds; tiers of points are left out.

    Raises:
      InputError: it is no TextGrid, ends too early, or has two tiers of one name.
    """
    values = _Values(text, source)
    if not re.match(rf'[^"]*"{_KIND}"[^"]*"{_CLASS}"', text):
        raise InputError(f"{source} is no TextGrid: it does not begin as one, with {_KIND} and {_CLASS}.")
    values.text(), values.text()
    values.number(), values.number()
    tiers: dict[str, tuple[Phoneme, ...]] = {}
    if values.flag() != "exists":
        return tiers
    for _ in range(values.count()):
        kind, name = values.text(), values.text()
        values.number(), values.number()
        if kind == _POINTS:
            for _ in range(values.count()):
                values.number(), values.text()
            continue
        if kind != _INTERVALS:
            raise InputError(f"{source} has a tier of the kind {shown(kind)}; accepted are {_INTERVALS} and {_POINTS}.")
        if name in tiers:
            raise InputError(f"{source} has two tiers named {shown(name)}; each may stand once.")
        tiers[name] = tuple(values.interval() for _ in range(values.count()))
    return tiers


class _Values:
    """The values of a file one after another; InputError for one of another kind."""

    def __init__(self, text: str, source: str):
        self._matches, self._source = self._found(text), source

    @staticmethod
    def _found(text: str) -> Iterator[tuple[str, str]]:
        for match in _VALUE.finditer(text):
            if match.lastgroup:
                yield match.lastgroup, match[match.lastgroup]

    def _next(self, kind: str) -> str:
        found, value = next(self._matches, ("end", "the end"))
        if found != kind:
            raise InputError(f"{self._source} is no whole TextGrid: found {shown(value)}, expected a {kind}.")
        return value

    def text(self) -> str:
        return self._next("text").replace('""', '"')

    def flag(self) -> str:
        return self._next("flag")

    def number(self) -> float:
        return float(self._next("number"))

    def count(self) -> int:
        value = self.number()
        if value != int(value) or value < 0:
            raise InputError(f"{self._source} is no whole TextGrid: found {value:g}, expected how many there are.")
        return int(value)

    def interval(self) -> Phoneme:
        start, end = self.number(), self.number()
        return Phoneme(self.text().strip(), start, end)
