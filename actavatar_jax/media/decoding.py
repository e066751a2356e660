"""The sound of a media file: on the clock, as it was recorded or as an encoder hears it."""

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soxr
from jaxtyping import Float32

from actavatar_jax.errors import InputError
from actavatar_jax.media.channels import fold, match, merge, to_stereo
from actavatar_jax.media.clock import SAMPLE_RATE
from actavatar_jax.media.container import choose_stream, open_container
from actavatar_jax.media.pieces import Piece, decode_pieces
from actavatar_jax.media.placing import place_pieces
from actavatar_jax.media.sound import CHANNELS, RATES, Sound, levelled
from actavatar_jax.storage import named

INDEXED = "mov", "matroska"  # containers that lead to a time and tell the true time there
FAR = 30  # seconds of sound before the wanted that are passed over and not decoded
RUN_UP = 2  # seconds that a codec may need to be itself again


def decode_sound(path: Path, origin: Fraction | None = None, max_seconds: Fraction | None = None) -> Sound | None:
    """The sound of a media file as recorded, None where it has none. Only the result is held in memory.

    The rate is the stream's own, or the next above it that AAC has, at most its highest; the channels are the stream's
    own, or two where AAC has no such number, or one where it does not say which is which. origin: the time stamp, in
    seconds, of sample 0 (default: the first decoded sample's own); earlier sound is left out and silence stands before
    later sound. max_seconds: read no more than this. See `choose_stream` and `place_pieces`.
    """
    with _opened(path, origin) as (first, pieces):
        if first is None:
            return None if pieces is None else Sound(np.zeros((0, 1), np.float32), SAMPLE_RATE)
        rate = next((known for known in RATES if known >= first.rate), RATES[-1])
        count = first.samples.shape[1]
        count = count if count in CHANNELS else to_stereo(first.samples, first.names).shape[1]
        kept = _collect(pieces, lambda p: match(p.samples, p.names, count), rate, max_seconds, path)
    return Sound(levelled(np.concatenate(kept), f"Speech {named(path)}"), rate)


def decode_audio(
    path: Path, origin: Fraction | None = None, limit: int | None = None
) -> Float32[np.ndarray, " n"] | None:
    """Mono 16 kHz samples of a media file's sound, None where it has none; see `decode_sound` and `channels`.

    limit: number of samples after which to stop.
    """
    most = None if limit is None else Fraction(limit, SAMPLE_RATE)
    with _opened(path, origin) as (first, pieces):
        if first is None:
            return None if pieces is None else np.zeros(0, np.float32)
        count = fold(first.samples, first.names).shape[1]
        kept = _collect(pieces, lambda p: match(fold(p.samples, p.names), p.names, count), SAMPLE_RATE, most, path)
    return levelled(merge(kept, f"Speech {named(path)}"), f"Speech {named(path)}")


@contextmanager
def _opened(path: Path, origin: Fraction | None) -> Iterator[tuple[Piece | None, Iterator[Piece] | None]]:
    """The first piece, where there is any, and all pieces, where there is a stream."""
    with open_container(path, "speech") as container:
        stream = choose_stream(container, "audio", path)
        if stream is None:
            yield None, None
            return
        pieces = place_pieces(_from_run_up(container, stream, origin, path), origin, path)
        first = next(pieces, None)
        yield first, pieces if first is None else itertools.chain([first], pieces)


def _from_run_up(
    container: av.container.InputContainer, stream: av.AudioStream, origin: Fraction | None, path: Path
) -> Iterator[Piece]:
    """What decodes, where possible from shortly before the origin on and not from the beginning."""
    begin = (stream.start_time or 0) * stream.time_base
    if (
        origin is not None
        and origin - begin > FAR
        and any(name in INDEXED for name in container.format.name.split(","))
    ):
        container.seek(int((origin - RUN_UP) / stream.time_base), stream=stream)
        pieces = decode_pieces(container, stream, path)
        first = next(pieces, None)
        if first is not None and first.time is not None and first.time <= origin:
            return itertools.chain([first], pieces)
        container.seek(int(begin / stream.time_base), stream=stream)
    return decode_pieces(container, stream, path)


def _collect(
    pieces: Iterator[Piece],
    mix: Callable[[Piece], np.ndarray],
    rate: int,
    max_seconds: Fraction | None,
    path: Path,
) -> list[Float32[np.ndarray, "_ c"]]:
    """Pieces of one rate, no more of them than are asked for."""
    limit = math.inf if max_seconds is None else math.ceil(max_seconds * rate)
    kept, total = [], 0
    for samples in _resampled(pieces, mix, rate, path):
        kept.append(samples[: min(len(samples), limit - total)])
        total += len(samples)
        if total >= limit:
            break
    return kept


def _resampled(
    pieces: Iterator[Piece], mix: Callable[[Piece], np.ndarray], rate: int, path: Path
) -> Iterator[np.ndarray]:
    stream, known = None, None
    for piece in pieces:
        samples = mix(piece)
        if known is None and piece.rate != rate:
            stream = soxr.ResampleStream(piece.rate, rate, num_channels=samples.shape[1], dtype="float32")
        elif known not in (None, piece.rate):
            raise InputError(
                f"The sound of {named(path)} changes its sample rate from {known} to {piece.rate} Hz within."
            )
        known, none = piece.rate, samples[:0]
        yield samples if stream is None else stream.resample_chunk(samples)
    if stream is not None:
        yield stream.resample_chunk(none, last=True)
