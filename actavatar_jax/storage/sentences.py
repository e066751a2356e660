"""What is wrong with an input, in one sentence: where, what was found, what is accepted; one line of bounded length."""

import reprlib
from collections.abc import Sequence

from actavatar_jax.errors import LONGEST, InputError

FOUND = 60  # of what was found
SOURCE = 160  # of the name of a file
PROBLEM = 200

_repr = reprlib.Repr()  # never writes out the whole of something large
_repr.maxstring = _repr.maxother = _repr.maxlong = FOUND


def shown(value: object) -> str:
    """A value as it was found, on one line, cut at 60 characters."""
    try:
        return cut(_repr.repr(value), FOUND)
    except ValueError:  # Python writes out none of more than 4,300 digits
        return "a whole number of thousands of digits"


def cut(text: str, most: int) -> str:
    """`text` on one line and printable, of at most `most` characters."""
    text = _on_one_line(text[: 4 * most])
    return text if len(text) <= most else text[: most - 1] + "…"


def first_of(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    return cut(names[0], FOUND) + (f" and {len(names) - 1:,} more" if len(names) > 1 else "")


def named(source: object) -> str:
    """The name of a file or another source; of a long one the end, which tells more than the beginning."""
    text = _on_one_line(str(source))
    return text if len(text) <= SOURCE else "…" + text[1 - SOURCE :]


def refusal(beginning: str, problems: Sequence[str]) -> InputError:
    """`beginning problem; problem; and 7 more.`, with as many of the problems as a sentence has room for."""
    beginning, told = cut(beginning, SOURCE + 60), []
    for number, problem in enumerate(problems):
        problem = cut(problem, PROBLEM).removesuffix(".")
        rest = f"; and {len(problems) - number:,} more"
        if told and len("; ".join([beginning, *told, problem])) > LONGEST - len(rest) - 1:
            return InputError(f"{beginning} {'; '.join(told)}{rest}.")
        told.append(problem)
    return InputError(f"{beginning} {'; '.join(told)}.")


def _on_one_line(text: str) -> str:
    """Without line breaks, control characters, and bytes of a name that are not UTF-8."""
    text = " ".join(text.split())
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
