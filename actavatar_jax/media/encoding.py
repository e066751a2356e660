"""Writing an mp4: H.264 and AAC, whole or not at all."""

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange
from jaxtyping import Float

from actavatar_jax.errors import InputError
from actavatar_jax.media.clock import FPS
from actavatar_jax.media.colour import from_rgb
from actavatar_jax.media.formats import file_url
from actavatar_jax.media.sound import Sound
from actavatar_jax.storage import Place, StorePath, named, replaced_file

_MP4 = {"format": "mp4", "options": {"movflags": "+faststart"}}
BT709 = 1  # the code of this colour matrix, of its primaries and of its transfer curve


def write_video(
    path: str | Place,
    frames: Iterable[np.ndarray],
    sound: Sound | Float[np.ndarray, " n"] | None = None,
    fps: int = FPS,
) -> None:
    """An mp4 (H.264, yuv420p, BT.709, and AAC) that starts playing before it is loaded in full.

    frames: uint8 [h, w, 3] with even sides, all of one size. sound: a `Sound`, whose rate and channels the file has, or
    an array [n] at 16 kHz; it is cut, or filled up with silence, to the length of the frames. The file appears under
    its name only when complete. InputError for frames and names that cannot be written, OSError where the disk refuses.
    """
    sound = None if sound is None else Sound.coerce(sound)
    path, frames = path if isinstance(path, StorePath) else Path(path), iter(frames)
    if path.suffix.lower() != ".mp4" or "\0" in str(path):
        raise InputError(f"Video {named(path)} cannot be written; accepted is a name that ends in .mp4.")
    if path.is_dir():
        raise InputError(f"Video {named(path)} cannot be written: there is a folder of this name.")
    first = next(frames, None)
    if first is None:
        raise InputError(f"Video {named(path)} cannot be written: there are no frames.")
    if first.shape[0] % 2 or first.shape[1] % 2:
        raise InputError(
            f"Video {named(path)} cannot be written at {first.shape[1]}x{first.shape[0]}; sides must be even."
        )
    with replaced_file(path) as partial:
        _encode(partial, itertools.chain([first], frames), first.shape, sound, fps)


def join_videos(path: str | Path, parts: Sequence[str | Path], sound: Sound) -> None:
    """One mp4 of several that `write_video` made, shown one after the other, with a sound of its own.

    Pictures are not encoded anew. Parts have one size and rate; the sound is cut, or filled up with silence, to their
    length. The file appears under its name only when complete.
    """
    with replaced_file(path) as partial, av.open(file_url(partial), "w", **_MP4) as container:
        video = track = None
        done = 0  # frames
        for part in parts:
            with av.open(file_url(Path(part))) as source:
                stream = source.streams.video[0]
                if video is None:
                    video, track = container.add_stream_from_template(stream), _add_track(container, sound)
                fps = stream.average_rate
                begin = round(done / fps / stream.time_base)
                for packet in source.demux(stream):
                    if not packet.size:
                        continue
                    packet.pts, packet.dts, packet.stream = packet.pts + begin, packet.dts + begin, video
                    container.mux(packet)
                    container.mux(track.encode(_stretch(sound, done, int(fps), track.layout.name)))
                    done += 1
        container.mux(track.encode(None))


def _encode(path: Path, frames: Iterable[np.ndarray], shape: tuple, sound: Sound | None, fps: int) -> None:
    with av.open(file_url(path), "w", **_MP4) as container:
        # x264's macroblock tree gives other bytes for the same pictures each time; a file should be what went in.
        video = container.add_stream("libx264", rate=fps, options={"crf": "18", "x264-params": "mbtree=0"})
        video.height, video.width, video.pix_fmt = shape[0], shape[1], "yuv420p"
        context = video.codec_context
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = ColorRange.MPEG
        track = None if sound is None else _add_track(container, sound)
        for index, image in enumerate(frames):
            container.mux(video.encode(_picture(image, shape, index)))
            if sound is not None:
                container.mux(track.encode(_stretch(sound, index, fps, track.layout.name)))
        container.mux(video.encode(None))
        if track is not None:
            container.mux(track.encode(None))


def _add_track(container: av.container.OutputContainer, sound: Sound) -> av.AudioStream:
    channels = sound.samples.shape[1]
    track = container.add_stream("aac", rate=sound.rate, layout=f"{channels}c")  # FFmpeg's usual layout of so many
    track.bit_rate = min(4 * sound.rate, 96_000) * channels
    return track


def _picture(image: np.ndarray, shape: tuple, index: int) -> av.VideoFrame:
    if image.dtype != np.uint8 or image.shape != shape or shape[2:] != (3,):
        raise InputError(
            f"Frame {index} is {image.dtype} {list(image.shape)}; accepted is uint8 [height, width, 3] of one size."
        )
    frame = from_rgb(image)
    frame.pts = index
    return frame


def _stretch(sound: Sound, index: int, fps: int, layout: str) -> av.AudioFrame:
    """The sound of a frame of video."""
    start, end = index * sound.rate // fps, (index + 1) * sound.rate // fps
    samples = sound.samples[start:end]
    samples = np.pad(samples, ((0, end - start - len(samples)), (0, 0)))
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout=layout)
    frame.sample_rate, frame.pts = sound.rate, start
    return frame
