"""Speech in: any audio file, or the sound of a video, to mono 16 kHz samples.

Decoding and resampling go piece by piece, so only the 16 kHz result is held in memory.
"""

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soxr
from jaxtyping import Float32, Shaped

from actavatar_jax.errors import InputError
from actavatar_jax.media.clock import SAMPLE_RATE, SAMPLES_PER_FRAME
from actavatar_jax.media.container import open_container

SHORTEST = 0.2  # seconds
GAP = Fraction(1, 25)  # a hole in the time stamps longer than this is silence; a shorter one is rounding
LONGEST_GAP = 60

logger = logging.getLogger(__name__)


def load_audio(source: str | Path | np.ndarray) -> Float32[np.ndarray, " n"]:
    """Mono 16 kHz samples in [-1, 1] of an audio file (or a video's sound), or of an array [n] at 16 kHz.

    Channels are averaged; integers are scaled by their range; where a peak exceeds 1, all is scaled down to it. Of a
    file that breaks off, what decodes is used and one line logged, since a header alone cannot tell a cut file from a
    wrong estimate. Refused with an InputError: no audio stream, undecodable, less than 0.2 s, NaN or infinite values.
    """
    if isinstance(source, np.ndarray):
        name = "The speech array"
        if source.ndim != 1:
            shape = ", ".join(map(str, source.shape))
            raise InputError(f"{name} has shape [{shape}]; accepted is mono, [samples], at {SAMPLE_RATE} Hz.")
        samples = _levelled(_to_float(source, name), name)
    else:
        name = f"Speech {source}"
        samples = decode_audio(Path(source))
        if samples is None:
            raise InputError(f"{name} has no audio stream; a file with sound is needed.")
    if not len(samples):
        raise InputError(f"{name} holds no samples; at least {SHORTEST} s are needed.")
    if len(samples) < SHORTEST * SAMPLE_RATE:
        raise InputError(f"{name} lasts {len(samples) / SAMPLE_RATE:.3f} s; at least {SHORTEST} s are needed.")
    return samples


def fit_audio(samples: Float32[np.ndarray, " n"], num_frames: int) -> Float32[np.ndarray, " m"]:
    """Exactly `num_frames` frames of sound, 640 samples each: cut, or filled up with silence, and logged."""
    wanted = num_frames * SAMPLES_PER_FRAME
    if len(samples) != wanted:
        verb = "cut" if len(samples) > wanted else "filled up with silence"
        logger.info("sound of %.2f s %s to %.2f s", len(samples) / SAMPLE_RATE, verb, wanted / SAMPLE_RATE)
    return np.pad(samples[:wanted], (0, max(0, wanted - len(samples))))


def decode_audio(
    path: Path, origin: Fraction | None = None, limit: int | None = None
) -> Float32[np.ndarray, " n"] | None:
    """Mono 16 kHz samples of a media file's first audio stream, None where it has none.

    origin: the time stamp, in seconds, of sample 0 (default: the first decoded sample's own); earlier sound is left
    out and silence stands before later sound. limit: number of samples after which to stop.
    """
    pieces, total = [np.zeros(0, np.float32)], 0
    with open_container(path, "speech") as container:
        if not container.streams.audio:
            return None
        for piece in _resampled(_aligned(_decoded(container, path), origin, path), path):
            pieces.append(piece)
            total += len(piece)
            if limit is not None and total >= limit:
                break
    return _levelled(np.concatenate(pieces)[:limit], f"Speech {path}")


Piece = tuple[Fraction | None, int, np.ndarray]  # time stamp in seconds, sample rate, mono samples


def _decoded(container: av.container.InputContainer, path: Path) -> Iterator[Piece]:
    """What decodes, packet by packet: one bad packet is a hole in time, a broken file ends early."""
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
            if not frame.format.is_planar:
                samples = samples.reshape(-1, frame.layout.nb_channels).T
            if frame.duration and frame.time_base * frame.sample_rate == 1:
                samples = samples[:, : frame.duration]  # without the padding of a codec's last block
            time = None if frame.pts is None else frame.pts * frame.time_base
            seconds += samples.shape[1] / frame.sample_rate
            yield time, frame.sample_rate, _to_float(samples, f"Speech {path}").mean(0)
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


def _aligned(pieces: Iterator[Piece], origin: Fraction | None, path: Path) -> Iterator[tuple[int, np.ndarray]]:
    """(rate, samples) without holes: sample i is heard at origin + i / rate seconds."""
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
            yield rate, np.zeros(gap, np.float32)
            position += gap
        yield rate, samples
        position += len(samples)


def _resampled(pieces: Iterator[tuple[int, np.ndarray]], path: Path) -> Iterator[np.ndarray]:
    stream, known_rate = None, None
    for rate, samples in pieces:
        if known_rate is None and rate != SAMPLE_RATE:
            stream = soxr.ResampleStream(rate, SAMPLE_RATE, num_channels=1, dtype="float32")
        elif known_rate not in (None, rate):
            raise InputError(f"The sound of {path} changes its sample rate from {known_rate} to {rate} Hz within.")
        known_rate = rate
        yield samples if stream is None else stream.resample_chunk(samples)
    if stream is not None:
        yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def _to_float(samples: Shaped[np.ndarray, "..."], name: str) -> Float32[np.ndarray, "..."]:
    """float32, with the range of an integer type mapped to [-1, 1]."""
    kind = samples.dtype
    if kind == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if np.issubdtype(kind, np.signedinteger):
        return samples.astype(np.float32) / 2.0 ** (8 * kind.itemsize - 1)
    if np.issubdtype(kind, np.floating):
        return samples.astype(np.float32)
    raise InputError(f"{name} has values of type {kind}; accepted are floats in [-1, 1] and signed integers.")


def _levelled(samples: Float32[np.ndarray, " n"], name: str) -> Float32[np.ndarray, " n"]:
    peak = np.maximum(samples.max(initial=0), -samples.min(initial=0))  # NaN where any sample is
    if not np.isfinite(peak):
        raise InputError(f"{name} holds NaN or infinite values; all samples must be finite.")
    return samples / peak if peak > 1 else samples
