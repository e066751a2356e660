"""What a sound stream holds, piece by piece."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from jaxtyping import Float32

from actavatar_jax.errors import InputError
from actavatar_jax.media.container import stated_duration
from actavatar_jax.media.notes import warn_once
from actavatar_jax.media.sound import to_float
from actavatar_jax.storage import named

SHORTER = 0.25  # seconds that a header may promise in excess


@dataclass(frozen=True, eq=False)
class Piece:
    """What one frame of a sound stream holds."""

    time: Fraction | None  # seconds, of the first sample
    rate: int
    names: tuple[str, ...]  # of the channels
    samples: Float32[np.ndarray, "n c"]


def decode_pieces(container: av.container.InputContainer, stream: av.AudioStream, path: Path) -> Iterator[Piece]:
    """What decodes: a packet that does not is a hole, and a file may end early. Both are logged at the end."""
    seconds, damaged, held = 0.0, False, None
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            damaged = True
            break
        if packet is None:
            break
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            damaged = True
            continue
        for frame in frames:
            seconds += frame.samples / frame.sample_rate
            if held is not None:
                yield _piece(held, path)
            held = frame
    if held is not None:
        yield _piece(held, path, last=True)
    missing = float(stated_duration(container, stream)) - max(seconds, _reached(stream, held))
    if damaged or missing > SHORTER or _cut_riff(path):
        promised = f"; its header promises {missing:.2f} s more" if missing > SHORTER else ""
        using = f"using the {seconds:.2f} s of sound that decode"
        warn_once(f"{named(path)} is damaged or breaks off: {using}{promised}")


def _reached(stream: av.AudioStream, last: av.AudioFrame | None) -> float:
    """Seconds from the stream's beginning to the end of its last frame, by the time stamps."""
    if last is None or last.pts is None or stream.start_time is None:
        return 0.0
    return float(last.pts * last.time_base - stream.start_time * stream.time_base) + last.samples / last.sample_rate


def _piece(frame: av.AudioFrame, path: Path, last: bool = False) -> Piece:
    """last: of the stream, whose block a codec fills up. Before it, durations that containers tell are no measure."""
    try:
        samples = frame.to_ndarray()
    except ValueError as error:
        form = f"samples of the form {frame.format.name}"
        raise InputError(f"Speech {named(path)} has {form}; accepted are up to 32 bits and floats.") from error
    samples = samples.T if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels)
    if last and frame.duration and frame.time_base * frame.sample_rate == 1:
        samples = samples[: frame.duration]
    time = None if frame.pts is None else frame.pts * frame.time_base
    names = tuple(channel.name for channel in frame.layout.channels)
    return Piece(time, frame.sample_rate, names, to_float(samples, f"Speech {named(path)}"))


def _cut_riff(path: Path) -> bool:
    """Whether a wav file is shorter than it says; FFmpeg passes over this in silence."""
    with path.open("rb") as file:
        head = file.read(8)
    declared, actual = int.from_bytes(head[4:], "little"), path.stat().st_size
    unknown, miscount = 2**32 - 1, 1024  # what streaming programs write; what some writers are out by
    return head[:4] == b"RIFF" and declared != unknown and actual < declared - miscount
