"""What it takes to encode a window of a clip with the frozen parts of a model, on a machine that need not be here."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from actavatar_jax.encoders.pictures import encode_video
from actavatar_jax.planning import topology
from actavatar_jax.planning.chips import GIB
from actavatar_jax.planning.compiling import ABSENT
from actavatar_jax.planning.sampling.plan import Measured
from actavatar_jax.planning.sampling.planner import measure_program
from actavatar_jax.planning.sampling.program import Place, Program, Programs, device_bytes, shape_of
from actavatar_jax.planning.sampling.workload import Workload
from actavatar_jax.storage import write_json
from actavatar_jax.weights import parse_size

PARTS = ("text_encoder", "audio_encoder", "vae")  # all of them stay on the device


class EncodingPrograms(Programs):
    """What `actavatar encode` calls for each window: the workload's video is the window."""

    def __init__(self, work: Workload, place: Place):
        super().__init__(work, place)
        self.makers = {"video": self.video, "text": self.prompt, "speech": self.speech}

    def video(self) -> list[Program]:
        pixels = shape_of(jnp.uint8, self.work.sampling.num_frames, *self.work.size, 3)
        return self.encoder("video", 1, encode_video, "vae", pixels)

    def prompt(self) -> list[Program]:
        (both,) = self.text()  # that of a video, and its negative one
        return [dataclasses.replace(both, times=1)]


@dataclasses.dataclass(frozen=True)
class EncodingPlan:
    """Figures of one window, bytes of the device."""

    where: str
    size: tuple[int, int]  # height, width
    frames: int
    dtype: str
    capacity: int
    weights: Mapping[str, int]  # by part
    programs: tuple[Measured, ...]

    @property
    def peak(self) -> int:
        """All parts, and the program that takes most beside them."""
        return sum(self.weights.values()) + max(program.inside for program in self.programs)

    @property
    def fits(self) -> bool:
        return self.peak <= self.capacity

    @property
    def seconds(self) -> float:
        """Of computing, or more: the roofline."""
        return sum(program.seconds for program in self.programs)

    def to_dict(self) -> dict[str, Any]:
        derived = {name: getattr(self, name) for name in ("peak", "fits", "seconds")}
        return dataclasses.asdict(self) | derived


def plan_encoding(work: Workload, where: str, memory: str = "auto") -> EncodingPlan:
    """Compiles what encodes a window of the workload's size and length, for one device. Takes minutes; allocates
    nothing.

    `where`, `memory` and errors are those of `plan_sampling`; of several devices the first one is meant, since
    processes encode clips of their own.
    """
    found = topology.parse(where)
    chip, device = found.chip, topology.devices(found)[0]
    work = dataclasses.replace(work, platform=chip.platform)
    programs = EncodingPrograms(work, Place(device=device, options=ABSENT[chip.platform] or None))
    measured = [measure_program(name, one, programs, chip) for name, make in programs.makers.items() for one in make()]
    return EncodingPlan(
        where=str(found),
        size=work.size,
        frames=work.sampling.num_frames,
        dtype=work.dtype,
        capacity=chip.memory if memory == "auto" else parse_size(memory),
        weights={part: device_bytes(programs.params[part]) for part in PARTS},
        programs=tuple(measured),
    )


def describe(one: EncodingPlan, windows: int) -> str:
    """A small table of a plan, with the time that so many windows take."""
    height, width = one.size
    lines = [f"{one.where}: windows of {height}x{width} pixels and {one.frames} frames, {one.dtype}", ""]
    lines += [f"{'weights':<26}{'GiB':>8}"]
    lines += [f"  {part:<24}{size / GIB:>8.2f}" for part, size in one.weights.items()]
    lines += ["", f"{'program':<26}{'inside GiB':>12}{'s each >=':>12}"]
    lines += [f"  {p.name:<24}{p.inside / GIB:>12.2f}{p.seconds:>12.4f}" for p in one.programs]
    left = one.capacity - one.peak
    fits = f"fits, {left / GIB:.1f} left" if one.fits else f"does not fit, {-left / GIB:.1f} too many"
    hours = windows * one.seconds / 3600
    return "\n".join(
        [
            *lines,
            "",
            f"{'peak':<26}{one.peak / GIB:>8.1f} of {one.capacity / GIB:.1f} GiB: {fits}",
            f"{'a window':<26}{one.seconds:>8.3f} s or more",
            f"{f'{windows:,} windows':<26}{hours:>8.1f} h of one device or more",
        ]
    )


def save(path: Path, one: EncodingPlan) -> None:
    """A plan with all its figures, in bytes and seconds, as JSON."""
    write_json(path, one.to_dict())
