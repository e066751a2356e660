"""Opening a media file with PyAV, with its errors turned into sentences, and choosing among its streams."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av

from actavatar_jax.errors import InputError
from actavatar_jax.media.formats import CONTAINERS, check_file, file_url
from actavatar_jax.media.notes import warn_once
from actavatar_jax.storage import named

KINDS = {"speech": "wav, flac, mp3, m4a, ogg", "video": "mp4, mov, mkv, webm, avi, ts"}

SUMMARY = {"matroska", "flv", "asf"}  # their headers tell only how long the whole lasts


@contextmanager
def open_container(path: Path, kind: Literal["speech", "video"]) -> Iterator[av.container.InputContainer]:
    """The opened media file; what cannot be opened or decoded inside the block becomes an InputError.

    kind: the word the message starts with. A file of another kind than `CONTAINERS` is not read, whatever its name.
    """
    name, accepted = f"{kind.capitalize()} {named(path)}", f"accepted are files such as {KINDS[kind]}"
    check_file(path, name)
    options = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "file"}
    try:
        container = av.open(file_url(path), metadata_errors="replace", options=options)
    except av.error.ArgumentError as error:  # not on the list
        raise InputError(f"{name} is a playlist, a script or damaged; {accepted}.") from error
    except av.FFmpegError as error:
        raise InputError(f"{name} is damaged or not a media file ({error.strerror}); {accepted}.") from error
    try:
        with container:
            yield container
    except av.FFmpegError as error:
        raise InputError(f"{name} is damaged ({error.strerror}); {accepted}.") from error


def choose_stream(
    container: av.container.InputContainer, kind: Literal["video", "audio"], path: Path
) -> av.VideoStream | av.AudioStream | None:
    """The first stream of a kind that is marked as default, else the first; None where there is none.

    A picture on a record's sleeve is no video, and what FFmpeg cannot decode does not count.
    """
    found = [stream for stream in getattr(container.streams, kind) if _is_playable(stream)]
    if not found:
        return None
    chosen = next((stream for stream in found if stream.disposition & av.stream.Disposition.default), found[0])
    if len(found) > 1:
        language = f" ({chosen.language})" if chosen.language else ""
        warn_once(f"{named(path)} has {len(found)} {kind} streams; number {found.index(chosen) + 1}{language} is taken")
    return chosen


def stated_duration(container: av.container.InputContainer, stream: av.stream.Stream) -> Fraction:
    """Seconds that the file says this stream lasts, 0 where it does not say so of this stream."""
    if stream.duration is None or not SUMMARY.isdisjoint(container.format.name.split(",")):
        return Fraction(0)
    return stream.duration * stream.time_base


def _is_playable(stream: av.stream.Stream) -> bool:
    context = stream.codec_context
    if context is None or stream.disposition & av.stream.Disposition.attached_pic:
        return False
    return context.width * context.height > 0 if stream.type == "video" else context.sample_rate > 0
