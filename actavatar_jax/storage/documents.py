"""Documents from outside: JSON, JSON lines and YAML, read with limits and checked against a type.

Nothing outside of this room parses them. A document is a regular file of bounded size (`texts`), nested no deeper than
64 levels, with whole numbers of at most 128 bits, finite numbers, and no key twice in an object (`limits`); what it
holds may be asked for as a type (`schemas`). What is wrong is one `InputError`: file, place, what was found, what is
accepted.
"""

import json
from collections.abc import Iterator
from typing import Any

from actavatar_jax.errors import InputError
from actavatar_jax.storage.limits import DoubleKeyError, checked, too_deep, too_long, unique
from actavatar_jax.storage.places import Place
from actavatar_jax.storage.schemas import conform
from actavatar_jax.storage.sentences import named, shown
from actavatar_jax.storage.texts import LARGEST, decode, opened, read_text

LARGEST_YAML = 2**18  # bytes: its reader takes seconds for them
LONGEST_LINE = 2**20  # bytes of one JSON line
MOST_TRIES = 1000  # opening braces in prose that are tried
LARGEST_LINES = 2**30  # bytes of a file of them, of which one is held at a time


def read_json(path: str | Place, as_: Any = dict, *, limit: int = LARGEST, finite: bool = True) -> Any:
    """What a JSON file holds, as `as_`: dict, list, object (whatever it is), a dataclass, or another type.

    Without `finite` there may be NaN and Infinity, which Python writes.
    """
    return conform(_parsed(read_text(path, limit=limit), named(path), "JSON file", finite), as_, named(path))


def parse_json(text: str | bytes, source: str, as_: Any = dict) -> Any:
    """What JSON text holds, as `as_`; `source` says in messages where it comes from."""
    source = named(source)
    text = decode(text, source) if isinstance(text, bytes) else text
    return conform(_parsed(text, source, "JSON"), as_, source)


def read_json_lines(
    path: str | Place, as_: Any = dict, *, limit: int = LONGEST_LINE, finite: bool = True
) -> Iterator[tuple[int, Any | InputError]]:
    r"""(number of the line from 1 on, what it holds or what is wrong with it), for lines that are not empty.

    One bad line is one value; an InputError is raised only where the file cannot be read. A line ends at \n and has at
    most `limit` bytes. `finite` as in `read_json`.
    """
    with opened(path, LARGEST_LINES) as file:
        for number, line in enumerate(iter(lambda: file.readline(limit + 1), b""), start=1):
            source = f"{named(path)} line {number}"
            if len(line) > limit:
                while line and not line.endswith(b"\n"):
                    line = file.readline(limit)
                yield number, InputError(f"{source} is too long; accepted are up to {limit:,} bytes.")
            elif line.removeprefix(b"\xef\xbb\xbf" if number == 1 else b"").strip():
                yield number, _line(line, source, as_, finite)


def read_yaml(path: str | Place, as_: Any = dict, *, limit: int = LARGEST_YAML) -> Any:
    """What a YAML file holds, as `as_`. It has JSON's types only: dates are texts."""
    return parse_yaml(read_text(path, limit=limit), named(path), as_)


def parse_yaml(text: str, source: str, as_: Any = dict) -> Any:
    """What YAML text holds, as `read_yaml` has it."""
    from actavatar_jax.storage.yaml_loader import load_yaml  # not everybody reads YAML

    source = named(source)
    return conform(checked(load_yaml(text, source), source), as_, source)


def find_json_objects(text: str) -> Iterator[dict[str, Any]]:
    """All JSON objects in a text, with whatever stands around them; their numbers are floats, 1e999 is infinite."""
    decoder = json.JSONDecoder(parse_int=float, parse_constant=_no_number, object_pairs_hook=unique)
    position = text.find("{")
    for _ in range(MOST_TRIES):
        if position < 0:
            return
        try:
            found, end = decoder.raw_decode(text, position)
            yield checked(found, "the object", finite=False)
        except (ValueError, DoubleKeyError):
            end = position + 1
        except RecursionError:  # and so would be those inside
            return
        position = text.find("{", end)


def plain(value: Any) -> Any:
    """A value as JSON gives it back: tuples are lists, keys are texts."""
    return json.loads(json.dumps(value))


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _parsed(text: str, source: str, kind: str, finite: bool = True) -> Any:
    try:
        return checked(json.loads(text, object_pairs_hook=unique), source, finite)
    except RecursionError as error:
        raise too_deep(source) from error
    except DoubleKeyError as error:
        raise InputError(f"{source} has the key {error} twice in one object; each may stand once.") from error
    except json.JSONDecodeError as error:
        rest = text[error.pos : error.pos + 100]
        found = f"found {shown(rest)}" if rest.strip() else "it ends there"
        place = f"line {error.lineno}, column {error.colno}" if "\n" in text else f"column {error.colno}"
        raise InputError(f"{source} is no {kind}: {error.msg} at {place}, {found}.") from error
    except InputError:
        raise
    except ValueError as error:  # what Python says of a number of more than 4,300 digits
        raise too_long(source) from error


def _line(line: bytes, source: str, as_: Any, finite: bool) -> Any:
    try:
        return conform(_parsed(decode(line.rstrip(b"\r\n"), source), source, "JSON", finite), as_, source)
    except InputError as error:
        return error
