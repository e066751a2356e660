"""Video in and out: any video file to 25 upright frames a second with its sound, and frames with sound to an mp4."""

import functools
import itertools
import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from jaxtyping import Float, Float32, UInt8

from actavatar_jax.errors import InputError
from actavatar_jax.media.clock import FPS, nearest_frames
from actavatar_jax.media.container import open_container
from actavatar_jax.media.decoding import decode_sound
from actavatar_jax.media.image import fit_image
from actavatar_jax.media.sound import Sound
from actavatar_jax.storage import replaced_file

BT709 = 1  # the code of this colour matrix, of its primaries and of its transfer curve
LIMITED_RANGE = 1
MISSING = Fraction(1, 10)  # seconds that a header may promise in excess


@dataclass(frozen=True)
class Video:
    """Frames, `fps` of them a second, and their sound (None where there is none); both start together.

    sound: as recorded, with its own rate and channels; an array [n] at 16 kHz becomes one.
    """

    frames: UInt8[np.ndarray, "F H W 3"]
    sound: Sound | Float[np.ndarray, " n"] | None = None
    fps: int = FPS

    def __post_init__(self) -> None:
        if self.sound is not None:
            object.__setattr__(self, "sound", Sound.coerce(self.sound))

    @functools.cached_property
    def audio(self) -> Float32[np.ndarray, " n"] | None:
        """The sound as mono 16 kHz samples, which is what encoders hear."""
        return None if self.sound is None else self.sound.to_audio()

    def save(self, path: str | Path) -> None:
        """Written as an mp4; see `write_video`."""
        write_video(path, self.frames, self.sound, self.fps)


@dataclass(frozen=True)
class VideoInfo:
    """What a video file says of itself. Width and height are those of the upright picture with square pixels."""

    width: int
    height: int
    duration: float  # seconds
    fps: float  # mean
    frames: int
    has_audio: bool
    codec: str
    rotation: int  # degrees counter-clockwise that the player is told to turn the stored picture
    start: Fraction  # time stamp of the first frame, seconds


def load_video(path: str | Path, max_seconds: float | int | None = None, size: tuple[int, int] | None = None) -> Video:
    """The video on the 25 fps clock, by time stamp, with its sound; frame 0 and sample 0 are the file's first picture.

    Sound before the first picture is left out, and sound is cut or filled up with silence to the frames' length.
    max_seconds: read no more than this. size: (height, width) to which each frame is brought while decoding. Refused
    with an InputError: a missing or damaged file, one without pictures, one that breaks off.
    """
    frames = np.stack(list(read_frames(path, max_seconds, size)))
    start, _, _ = next(_decoded(Path(path)))
    sound = decode_sound(Path(path), origin=start, max_seconds=Fraction(len(frames), FPS))
    return Video(frames, None if sound is None or not len(sound.samples) else sound.fit(len(frames)))


def read_frames(
    path: str | Path, max_seconds: float | int | None = None, size: tuple[int, int] | None = None
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """The frames of `load_video` one after the other; only one decoded picture is held at a time."""
    slots = nearest_frames(_decoded(Path(path)))
    count = None if max_seconds is None else max(1, math.floor(max_seconds * FPS + 1e-6))
    shown, image = None, None
    for frame in itertools.islice(slots, count):
        if frame is not shown:
            shown, image = frame, frame.upright()
            image = image if size is None else fit_image(image, *size)
        yield image


def probe(path: str | Path) -> VideoInfo:
    """Facts of a video file, from its header and its first frame; InputError as in `load_video`."""
    with open_container(Path(path), "video") as container:
        stream = video_stream(container, Path(path))
        start, _, picture = next(timed_pictures(container, stream, Path(path)))
        height, width = picture.upright().shape[:2]
        has_audio = bool(container.streams.audio)
        frames, fps = stream.frames, stream.average_rate
        duration = None if stream.duration is None else stream.duration * stream.time_base
    if not frames or duration is None or not fps:  # matroska and raw streams do not say
        with open_container(Path(path), "video") as container:
            packets = container.demux(video_stream(container, Path(path)))
            stamps = [(p.pts or 0, p.duration or 0, p.time_base) for p in packets if p.size]
        frames = len(stamps)
        duration = max((pts + lasting) * base for pts, lasting, base in stamps) - start or Fraction(frames, FPS)
        fps = frames / duration
    return VideoInfo(
        width=width,
        height=height,
        duration=float(duration),
        fps=float(fps),
        frames=frames,
        has_audio=has_audio,
        codec=stream.codec_context.name,
        rotation=picture.frame.rotation,
        start=start,
    )


def write_video(
    path: str | Path,
    frames: Iterable[np.ndarray],
    sound: Sound | Float[np.ndarray, " n"] | None = None,
    fps: int = FPS,
) -> None:
    """An mp4 (H.264, yuv420p, BT.709, and AAC) that starts playing before it is loaded in full.

    frames: uint8 [h, w, 3] with even sides, all of one size. sound: a `Sound`, whose rate and channels the file has, or
    an array [n] at 16 kHz; it is cut, or filled up with silence, to the length of the frames. The file appears under
    its name only when complete. InputError for what cannot be written.
    """
    sound = None if sound is None else Sound.coerce(sound)
    path, frames = Path(path), iter(frames)
    if path.suffix.lower() != ".mp4":
        raise InputError(f"Video {path} cannot be written; accepted is a name that ends in .mp4.")
    first = next(frames, None)
    if first is None:
        raise InputError(f"Video {path} cannot be written: there are no frames.")
    if first.shape[0] % 2 or first.shape[1] % 2:
        raise InputError(f"Video {path} cannot be written at {first.shape[1]}x{first.shape[0]}; sides must be even.")
    with replaced_file(path) as partial:
        _encode(partial, itertools.chain([first], frames), first.shape, sound, fps)


@dataclass(frozen=True, eq=False)
class Picture:
    frame: av.VideoFrame
    pixel_aspect: Fraction
    interlaced: bool  # as it was stored

    def upright(self) -> UInt8[np.ndarray, "H W 3"]:
        """RGB with square pixels, turned and mirrored as the file asks."""
        image = self.frame.to_ndarray(format="rgb24", width=round(self.frame.width * self.pixel_aspect))
        matrix = self.frame.side_data.get("DISPLAYMATRIX")
        if matrix is None:
            return image
        # Stored (x, y) is shown at (a x + c y, b x + d y); only quarter turns and mirrors are meant for players.
        a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5]
        if abs(b) > abs(a):
            image, a, d = image.swapaxes(0, 1), c, b
        return np.ascontiguousarray(image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def video_stream(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    cover = av.stream.Disposition.attached_pic  # the picture on a record's sleeve
    streams = [stream for stream in container.streams.video if not stream.disposition & cover]
    if not streams:
        raise InputError(f"Video {path} has no video stream.")
    streams[0].thread_type = "AUTO"
    return streams[0]


def timed_pictures(
    container: av.container.InputContainer, stream: av.VideoStream, path: Path, start: Fraction | None = None
) -> Iterator[tuple[Fraction, Fraction, Picture]]:
    """(time, duration, picture) in display order; InputError at the end where pictures are missing.

    start: the time of the video's first picture, where the container was moved to a later one.
    """
    pixel_aspect = Fraction(stream.sample_aspect_ratio or 1)
    previous, time, duration = None, start or Fraction(0), 1 / Fraction(stream.average_rate or FPS)
    for frame, interlaced in _deinterlaced(container.decode(stream)):
        time = time + duration if frame.pts is None else frame.pts * frame.time_base
        if frame.duration:
            duration = frame.duration * frame.time_base
        elif previous is not None and time > previous:
            duration = time - previous
        previous, start = time, time if start is None else start
        yield time, duration, Picture(frame, pixel_aspect, interlaced)
    if start is None:
        raise InputError(f"Video {path} is damaged: it holds no picture that can be decoded.")
    declared = Fraction(0) if stream.duration is None else stream.duration * stream.time_base
    if time + duration - start < declared - MISSING:
        lasts = f"{float(time + duration - start):.2f} s of {float(declared):.2f} s"
        raise InputError(f"Video {path} is damaged: its pictures break off after {lasts}.")


def _decoded(path: Path) -> Iterator[tuple[Fraction, Fraction, Picture]]:
    with open_container(path, "video") as container:
        yield from timed_pictures(container, video_stream(container, path), path)


def _deinterlaced(frames: Iterable[av.VideoFrame]) -> Iterator[tuple[av.VideoFrame, bool]]:
    """As many frames at the same times, of whole pictures in the place of two fields, and whether they were fields.

    Frames before the first interlaced one, and between and behind those, stay as they are.
    """
    graph, form, pushed = None, None, deque()
    for frame in frames:
        if graph is not None and form != (frame.format.name, frame.width, frame.height):
            yield from _filtered(graph, None, pushed)
            graph = None
        if graph is None and frame.interlaced_frame:
            graph, form = _deinterlacer(frame), (frame.format.name, frame.width, frame.height)
        if graph is None:
            yield frame, False
        else:
            pushed.append(frame.interlaced_frame)
            yield from _filtered(graph, frame, pushed)
    if graph is not None:
        yield from _filtered(graph, None, pushed)


def _deinterlacer(frame: av.VideoFrame) -> av.filter.Graph:
    """For frames like this one. It sees the next frame before it gives one back."""
    graph = av.filter.Graph()
    form = {"width": frame.width, "height": frame.height, "format": frame.format, "time_base": frame.time_base}
    graph.link_nodes(
        graph.add_buffer(**form), graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink")
    ).configure()
    return graph


def _filtered(
    graph: av.filter.Graph, frame: av.VideoFrame | None, pushed: deque[bool]
) -> Iterator[tuple[av.VideoFrame, bool]]:
    """What the graph gives back for this frame, or at the end (None)."""
    graph.push(frame)
    while pushed:
        try:
            yield graph.pull(), pushed.popleft()
        except (av.error.BlockingIOError, av.error.EOFError):
            return


def _encode(path: Path, frames: Iterable[np.ndarray], shape: tuple, sound: Sound | None, fps: int) -> None:
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        # x264's macroblock tree gives other bytes for the same pictures each time; a file should be what went in.
        video = container.add_stream("libx264", rate=fps, options={"crf": "18", "x264-params": "mbtree=0"})
        video.height, video.width, video.pix_fmt = shape[0], shape[1], "yuv420p"
        context = video.codec_context
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED_RANGE
        track = None if sound is None else _add_track(container, sound)
        for index, image in enumerate(frames):
            container.mux(video.encode(_picture(image, shape, index)))
            if sound is not None:
                start, end = index * sound.rate // fps, (index + 1) * sound.rate // fps
                container.mux(track.encode(_stretch(sound, start, end, track.layout.name)))
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
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    frame = frame.reformat(format="yuv420p", dst_colorspace="itu709", dst_color_range="MPEG")
    frame.pts = index
    return frame


def _stretch(sound: Sound, start: int, end: int, layout: str) -> av.AudioFrame:
    samples = sound.samples[start:end]
    samples = np.pad(samples, ((0, end - start - len(samples)), (0, 0)))
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout=layout)
    frame.sample_rate, frame.pts = sound.rate, start
    return frame
