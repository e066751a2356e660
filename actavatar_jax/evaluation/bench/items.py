"""A bench file: what every system is asked to make, one clip a line.

{"id": "wave_01", "image": "faces/anna.png", "audio": "speech/anna.wav", "duration": 5.0, "fps": 25,
 "language": "en", "transcript": "Hello there.", "base": "A woman in an office speaks to the camera.",
 "phases": [{"start": 0.5, "end": 2.0, "action": "She raises the right hand.", "body_part": "hands"}],
 "category": "one-hand gesture", "seed": 0}
"""

import dataclasses
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NotRequired

from annotated_types import Ge, Gt, Le, MinLen
from typing_extensions import TypedDict

from actavatar_jax.errors import InputError
from actavatar_jax.media.clock import RATES, floor_frames
from actavatar_jax.prompt import Phase, StructuredPrompt
from actavatar_jax.storage import named, read_json_lines, refusal, shown, write_text

ID = re.compile("[A-Za-z0-9_-][A-Za-z0-9_.-]{0,119}")  # it names a file
MOST_ITEMS = 100_000
SECONDS, FPS = 5.0, 25.0  # of an item that does not say


@dataclass(frozen=True)
class BenchPhase:
    """An action in its window, in seconds; `body_part` is what it is done with."""

    start: float
    end: float
    action: str
    body_part: str = ""


@dataclass(frozen=True)
class BenchItem:
    """One clip that is asked for; phases are in the order of their start. Paths are as seen from here."""

    id: str
    image: Path
    audio: Path
    base: str
    phases: tuple[BenchPhase, ...]
    duration: float = SECONDS  # seconds
    fps: float = FPS
    language: str = ""
    transcript: str = ""
    category: str = ""
    seed: int = 0

    @property
    def prompt(self) -> StructuredPrompt:
        return StructuredPrompt(self.base, tuple(Phase(phase.start, phase.end, phase.action) for phase in self.phases))

    @property
    def windows(self) -> list[tuple[float, float]]:
        """Of the phases, in seconds."""
        return [(phase.start, phase.end) for phase in self.phases]


def read_bench(path: str | Path) -> list[BenchItem]:
    """The items of a bench file, in its order; paths in it are relative to its folder.

    Raises:
      InputError: the file cannot be read or has no item; a line is no item, its prompt cannot be, or two have one id.
    """
    path = Path(path)
    items, problems, lines = [], [], {}
    for number, row in read_json_lines(path, _Row):
        try:
            item = _item(row, number, path.parent)
        except InputError as error:
            problems.append(str(error).replace(f"{named(path)} ", "", 1))
            continue
        first = lines.setdefault(item.id, number)
        if first < number:
            problems.append(f"lines {first} and {number} have the same id {shown(item.id)}")
        items.append(item)
        if number > MOST_ITEMS:
            raise InputError(f"The bench file {named(path)} has more than {MOST_ITEMS:,} lines; give fewer.")
    if problems:
        raise refusal(f"The bench file {named(path)} has problems:", problems)
    if not items:
        raise InputError(f"The bench file {named(path)} is empty; accepted is one JSON object a line.")
    return items


def write_bench(items: Sequence[BenchItem], path: str | Path) -> None:
    """Inverse of `read_bench`: paths become relative to the file's folder, so that both can be moved together."""
    path, lines = Path(path), []
    for item in items:
        row = dataclasses.asdict(item)
        row |= {name: os.path.relpath(row[name], path.parent) for name in ("image", "audio")}
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    write_text(path, "".join(lines))


def write_jobs(items: Sequence[BenchItem], results: str | Path, path: str | Path) -> None:
    """The jobs file with which `sample` makes `<results>/<id>.mp4` of every item: at its rate, and as long as is asked
    for, or up to three frames shorter, since videos have 4k+1 of them. Its paths are as seen from here.

    Raises:
      InputError: an item asks for frames at a rate with which no videos are made.
    """
    lines = []
    for item in items:
        if item.fps not in RATES:
            rates = " or ".join(map(str, RATES))
            raise InputError(f"{shown(item.id)} asks for {item.fps:g} frames a second; videos are made with {rates}.")
        row = {"image": str(item.image), "audio": str(item.audio), "prompt": item.prompt.to_dict()}
        row |= {"out": str(Path(results) / f"{item.id}.mp4"), "seed": item.seed, "rate": int(item.fps)}
        row |= {"num_frames": floor_frames(max(1, round(item.duration * item.fps)))}
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    write_text(Path(path), "".join(lines))


_Text = Annotated[str, MinLen(1)]


class _Phase(TypedDict):
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  (a TypedDict has no class variables)
    start: float
    end: float
    action: _Text
    body_part: NotRequired[str]


class _Row(TypedDict):
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012
    id: _Text
    image: _Text
    audio: _Text
    base: _Text
    phases: list[_Phase]
    duration: NotRequired[Annotated[float, Gt(0), Le(600)]]
    fps: NotRequired[Annotated[float, Ge(1), Le(120)]]
    language: NotRequired[str]
    transcript: NotRequired[str]
    category: NotRequired[str]
    seed: NotRequired[Annotated[int, Ge(0), Le(2**32 - 1)]]


def _item(row: dict | InputError, number: int, folder: Path) -> BenchItem:
    if isinstance(row, InputError):
        raise row
    if not ID.fullmatch(row["id"]):
        raise InputError(f"line {number}: the id is {shown(row['id'])}; accepted are letters, digits, '_', '-' and '.'")
    phases = sorted((BenchPhase(**phase) for phase in row["phases"]), key=lambda phase: phase.start)
    files = {name: folder / row[name] for name in ("image", "audio")}
    item = BenchItem(**{**row, **files, "phases": tuple(phases)})
    try:
        item.prompt.check(item.duration, most_phases=_most_phases(phases))
    except InputError as error:
        raise InputError(f"line {number}: {error}") from error
    return item


def _most_phases(phases: Sequence[BenchPhase]) -> int:
    """Any number: what a model can do is for it to say."""
    return max(len(phases), 1)
