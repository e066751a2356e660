"""Prompts as they come: text, JSON or YAML, in a string or in a file. What they hold is told as parts.

Faults are collected, so that one message has them all: those of shape here, those of contents by `StructuredPrompt`.
"""

import re
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

from actavatar_jax.errors import InputError
from actavatar_jax.prompt.text import MAX_CHARACTERS, clean_lines
from actavatar_jax.prompt.windows import split
from actavatar_jax.storage import Place, named, parse_json, parse_yaml, read_json, read_text, read_yaml, shown

MOST_ROWS = 1000  # phases that are read; a model takes eight, of a long video a clip has some
LARGEST = 2**20  # bytes of a prompt file

_JSON = re.compile(r"\s*(?:\{\s*[\"'}]|\[\s*\{|\{\s*\Z)")
_YAML = re.compile(r"\s*(?:---\s|\{\s*\w+\s*:|[\"']?(?:base|phases)[\"']?\s*:(?:\s|\Z))")
_JSON_INSIDE = re.compile(r"[\"'](?:base|phases|start|end|action)[\"'] ?:")
_FILE = re.compile(r"[^\n\0]{1,1000}\.(json|ya?ml|txt)", re.IGNORECASE)
_OTHER_FILE = re.compile(r"[^\s\0]{1,200}[./][^\s\0]{1,200}")


class Parts(NamedTuple):
    """A prompt before it is one. `base` is None where there is none."""

    base: str | None
    phases: list[tuple[float, float, str]]
    problems: list[str]


def read_string(text: str, source: str, duration: float | int | None) -> Parts:
    """A prompt in text; a text that begins as JSON or YAML with a prompt's keys is read as that, and must be it."""
    if isinstance(text, str) and len(text) <= MAX_CHARACTERS:  # others are for `clean_lines` to refuse
        document = text.strip("\ufeff\0")
        if is_document(document):
            parse = parse_json if _JSON.match(document) else parse_yaml
            return read_mapping(parse(document, source, object))
    found = split(clean_lines(text), duration)
    (_, base), *rest = found.blocks
    phases = [] if _too_many(rest) else [(*window, action) for window, action in rest]
    problems = found.problems + _too_many(rest)
    if json := _JSON_INSIDE.search(text):
        problems.append(f"{shown(json.group())} is of JSON, which has to be all of a prompt, from its first brace on")
    return Parts(base, phases, problems)


def read_mapping(data: Any) -> Parts:
    """A prompt as `{"base": str, "phases": [{"start": s, "end": s, "action": str}, ...]}`."""
    problems = _shape_problems(data, "it", {"base": str}, {"phases": list})
    base, rows = (data.get("base"), data.get("phases")) if isinstance(data, Mapping) else (None, None)
    rows = rows if isinstance(rows, list) else []
    problems += _too_many(rows)
    phases = []
    for number, row in enumerate([] if _too_many(rows) else rows, start=1):
        faults = _shape_problems(row, f"entry {number} of 'phases'", {"start": float, "end": float, "action": str})
        problems += faults
        if not faults:
            phases.append((row["start"], row["end"], row["action"]))
    return Parts(base if isinstance(base, str) else None, phases, problems)


def read_file(path: Place, source: str, duration: float | int | None) -> Parts:
    """A `.json` or `.yaml` file of `read_mapping`'s form, or any other text file with what `read_string` reads."""
    match path.suffix.lower():
        case ".json":
            return read_mapping(read_json(path, object, limit=LARGEST))
        case ".yaml" | ".yml":
            return read_mapping(read_yaml(path, object))
        case _:
            return read_string(read_text(path, limit=LARGEST), source, duration)


def file_named(text: str) -> Path | None:
    """The file that a prompt's text names, if it names one rather than ends like one: `A man reads notes.txt`."""
    text = text.strip()
    name, path = _FILE.fullmatch(text), Path(text)
    if name is None:
        return path if _OTHER_FILE.fullmatch(text) and _exists(path) else None
    if " " not in text or _exists(path):
        return path
    if name[1].lower() == "txt":
        return None
    raise InputError(f"The prompt file {named(text)} is missing; a prompt that is text ends in another way.")


def is_document(text: str) -> bool:
    """Whether a text begins as JSON or as YAML with a prompt's keys."""
    return bool(_JSON.match(text) or _YAML.match(text))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # too long a name
        return False


def _too_many(rows: list) -> list[str]:
    return [f"there are {len(rows):,} phases, up to {MOST_ROWS:,} are read"] if len(rows) > MOST_ROWS else []


def _shape_problems(
    data: Any, name: str, required: dict[str, type], optional: dict[str, type] | None = None
) -> list[str]:
    """What is wrong with the keys and types of one mapping; `float` stands for any finite number."""
    if not isinstance(data, Mapping):
        return [f"{name} is {type(data).__name__}, not a mapping with the keys {', '.join(required)}"]
    wanted = required | (optional or {})
    problems = [f"{name} has no key '{key}'" for key in required if key not in data]
    problems += [
        f"{name} has the unknown key {shown(key)} (known: {', '.join(wanted)})" for key in data if key not in wanted
    ]
    said = {str: "text", float: "a finite number of seconds", list: "a list"}
    for key, kind in wanted.items():
        if key in data and not (_is_number(data[key]) if kind is float else isinstance(data[key], kind)):
            problems.append(f"{name}: '{key}' is {shown(data[key])}, not {said[kind]}")
    return problems


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and abs(value) < 1e6
