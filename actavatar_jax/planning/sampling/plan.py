"""The figures of one video: memory of its programs beside the weights that stay, bounds of time."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from actavatar_jax.weights import DEVICE, HOST, leaving

DISK = 1e9  # bytes/s at which weights are read from files: an assumption


@dataclasses.dataclass(frozen=True)
class Measured:
    """A program and what one run of it takes of a device."""

    stage: str  # of `Programs.makers`
    name: str
    part: str
    times: int  # in a video
    inside: int  # bytes besides all weights: inputs, results, what is alive in between, code
    seconds: float  # of the roofline: computing, weights read, and links work at the same time; 0: chip not known
    compile_seconds: float


@dataclasses.dataclass(frozen=True)
class Plan:
    """Figures of one video, bytes of one device."""

    where: str
    mesh: tuple[int, ...] | None  # data, fsdp, seq
    size: tuple[int, int]  # height, width
    frames: int
    at_once: int  # frames of the longest chunk: all, where there is one
    tokens: int  # of these
    branches: int
    dtype: str
    quantize: str | None
    attention: str
    capacity: int
    weights: Mapping[str, int]  # by part
    stored: int  # bytes of all parts in files
    programs: tuple[Measured, ...]  # all of them, unless one was asked for first and does not fit

    @property
    def residences(self) -> dict[str, str]:
        """Where each part waits between its uses."""
        away = leaving(self.weights, self.capacity, self.working) if self.mesh is None else ()
        return {part: HOST if part in away else DEVICE for part in self.weights}

    @property
    def working(self) -> dict[str, int]:
        """The most that programs of each part take besides weights."""
        return {part: max((p.inside for p in self.programs if p.part == part), default=0) for part in self.weights}

    def total(self, program: Measured) -> int:
        """Bytes while it runs: itself, its part, and the parts that stay."""
        there = {part for part, place in self.residences.items() if place == DEVICE} | {program.part}
        return sum(self.weights[part] for part in there) + program.inside

    @property
    def worst(self) -> Measured:
        """The program at the peak."""
        return max(self.programs, key=self.total)

    @property
    def peak(self) -> int:
        return self.total(self.worst)

    @property
    def headroom(self) -> int:
        """Bytes that are left; negative where the video does not fit."""
        return self.capacity - self.peak

    @property
    def fits(self) -> bool:
        return self.headroom >= 0

    @property
    def seconds(self) -> float:
        """Of the whole video, from weights in memory, or more."""
        return sum(program.times * program.seconds for program in self.programs)

    @property
    def load_seconds(self) -> float:
        """To read the weights, at `DISK`."""
        return self.stored / DISK

    @property
    def compile_seconds(self) -> float:
        return sum(program.compile_seconds for program in self.programs)

    def to_dict(self) -> dict[str, Any]:
        names = ("residences", "peak", "headroom", "fits", "seconds", "load_seconds", "compile_seconds")
        derived = {name: getattr(self, name) for name in names}
        totals = [dataclasses.asdict(program) | {"total": self.total(program)} for program in self.programs]
        return dataclasses.asdict(self) | derived | {"programs": totals}
