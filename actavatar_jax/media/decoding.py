"""The sound of a media file, piece by piece: in time, of one rate, of the channels that are asked for.

c channels; a piece is what one packet holds.
"""

import itertools
import logging
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soxr

from actavatar_jax.errors import InputError
from actavatar_jax.media.clock import SAMPLE_RATE
from actavatar_jax.media.container import open_container
from actavatar_jax.media.sound import CHANNELS, RATES, Sound, levelled, to_float

GAP = Fraction(1, 25)  # a hole in the time stamps longer than this is silence; a shorter one is rounding
LONGEST_GAP = 60

logger = logging.getLogger(__name__)


def decode_sound(
    path: Path,
    origin: Fraction | None = None,
    max_seconds: Fraction | None = None,
    rate: int | None = None,
    channels: int | None = None,
) -> Sound | None:
    """The first audio stream of a media file, None where it has none. Only the result is held in memory.

    origin: the time stamp, in seconds, of sample 0 (default: the first decoded sample's own); earlier sound is left
    out and silence stands before later sound. max_seconds: read no more than this. rate: samples a second (default: the
    stream's own, or the next above it that AAC has, at most its highest). channels: default is the stream's own, or
    one where AAC has no such number; others are averaged to one.
    """
    with open_container(path, "speech") as container:
        if not container.streams.audio:
            return None
        pieces = _aligned(_decoded(container, path), origin, path)
        first = next(pieces, None)
        if first is None:
            return Sound(np.zeros((0, channels or 1), np.float32), rate or SAMPLE_RATE)
        rate = rate or next((known for known in RATES if known >= first[0]), RATES[-1])
        channels = channels or (first[1].shape[1] if first[1].shape[1] in CHANNELS else 1)
        limit = None if max_seconds is None else math.ceil(max_seconds * rate)
        kept, total = [], 0
        for piece in _resampled(_mixed(itertools.chain([first], pieces), channels), rate, path):
            kept.append(piece)
            total += len(piece)
            if limit is not None and total >= limit:
                break
    return Sound(levelled(np.concatenate(kept)[:limit], f"Speech {path}"), rate)


def _decoded(container: av.container.InputContainer, path: Path) -> Iterator[tuple[Fraction | None, int, np.ndarray]]:
    """(time stamp in seconds, rate, samples [n, c]) of what decodes: a bad packet is a hole, a file may end early."""
    stream = container.streams.audio[0]
    seconds, damaged = 0.0, False
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
            samples = frame.to_ndarray()
            samples = samples.T if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels)
            if frame.duration and frame.time_base * frame.sample_rate == 1:
                samples = samples[: frame.duration]  # without the padding of a codec's last block
            time = None if frame.pts is None else frame.pts * frame.time_base
            seconds += len(samples) / frame.sample_rate
            yield time, frame.sample_rate, to_float(samples, f"Speech {path}")
    declared = 0.0 if stream.duration is None else float(stream.duration * stream.time_base)
    if damaged or seconds < declared - 0.25 or _cut_riff(path):
        logger.warning("%s is damaged or breaks off: using the %.2f s of sound that decode", path, seconds)


def _cut_riff(path: Path) -> bool:
    """Whether a wav file is shorter than it says; FFmpeg passes over this in silence."""
    with path.open("rb") as file:
        head = file.read(8)
    declared, actual = int.from_bytes(head[4:], "little"), path.stat().st_size
    unknown, miscount = 2**32 - 1, 1024  # what streaming programs write; what some writers are out by
    return head[:4] == b"RIFF" and declared != unknown and actual < declared - miscount


Piece = tuple[int, np.ndarray]  # rate, samples [n, c]


def _aligned(
    pieces: Iterator[tuple[Fraction | None, int, np.ndarray]], origin: Fraction | None, path: Path
) -> Iterator[Piece]:
    """The pieces without holes: sample i is heard at origin + i / rate seconds."""
    position = 0
    for time, rate, samples in pieces:
        if origin is None:
            origin = time
        gap = 0 if time is None or origin is None else round((time - origin) * rate) - position
        if position == 0 and gap < 0:
            samples = samples[-gap:]
        elif gap > (GAP * rate if position else 0):
            if gap > LONGEST_GAP * rate:
                raise InputError(f"The sound of {path} has a hole of {gap / rate:.0f} s; cut it into parts.")
            yield rate, np.zeros((gap, samples.shape[1]), np.float32)
            position += gap
        yield rate, samples
        position += len(samples)


def _mixed(pieces: Iterator[Piece], channels: int) -> Iterator[Piece]:
    """The pieces with so many channels; another number, also within a file, is averaged and spread."""
    for rate, samples in pieces:
        if samples.shape[1] != channels:
            samples = np.repeat(samples.mean(1, keepdims=True), channels, axis=1)
        yield rate, samples


def _resampled(pieces: Iterator[Piece], target: int, path: Path) -> Iterator[np.ndarray]:
    stream, known_rate = None, None
    for rate, samples in pieces:
        if known_rate is None and rate != target:
            stream = soxr.ResampleStream(rate, target, num_channels=samples.shape[1], dtype="float32")
        elif known_rate not in (None, rate):
            raise InputError(f"The sound of {path} changes its sample rate from {known_rate} to {rate} Hz within.")
        known_rate, shape = rate, (0, samples.shape[1])
        yield samples if stream is None else stream.resample_chunk(samples)
    if stream is not None:
        yield stream.resample_chunk(np.zeros(shape, np.float32), last=True)
