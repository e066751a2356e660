"""Recordings whose pictures and sound carry the time at which they were made: flashes and clicks at known times."""

import itertools
from fractions import Fraction

import av
import numpy as np

RATE = 48_000
BLOCK = 960  # samples of a packet: 20 ms
MARK = 0.02  # seconds that a click lasts; a flash lasts one picture


def record(path, seconds, marks, pictures=None, blocks=None, codec="libx264", **options):
    """A video whose pictures and sound blocks have the time stamps given, in seconds, and show what is there then.

    pictures, blocks: by default 25 a second and without holes. codec: of the pictures, for times that go back ffv1.
    """
    pictures = np.arange(0, seconds, 1 / 25) if pictures is None else pictures
    blocks = np.arange(0, seconds, BLOCK / RATE) if blocks is None else blocks
    order = itertools.count() if codec == "ffv1" else None
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=25, options=options)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        video.time_base = video.codec_context.time_base = Fraction(1, 1000)
        sound = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for time in pictures:
            lit = any(abs(time - mark) < 0.02 for mark in marks)
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 255 if lit else 0, np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            mux(container, video.encode(frame), order)
        mux(container, video.encode(None), order)
        for time in blocks:
            times = time + np.arange(BLOCK) / RATE
            loud = np.any([(times >= mark) & (times < mark + MARK) for mark in marks], axis=0)
            block = av.AudioFrame.from_ndarray((20_000 * loud).astype(np.int16)[None], format="s16", layout="mono")
            block.sample_rate = RATE
            packets = sound.encode(block)
            for packet in packets:
                packet.pts, packet.time_base = round(time * RATE), Fraction(1, RATE)
            mux(container, packets, itertools.count())
    return path


def mux(container, packets, order):
    """order: of packets whose times may go back, numbers that rise, as a muxer wants them."""
    for packet in packets:
        if order is not None:
            packet.dts = min(next(order), packet.pts)
        container.mux(packet)


def flashes(frames):
    """Seconds at which white pictures begin, on the 25 fps clock."""
    return onsets(frames.mean((1, 2, 3)) > 128) / 25


def clicks(samples):
    """Seconds at which clicks begin, at 16 kHz."""
    starts = onsets(np.abs(samples) > 0.2) / 16000
    return np.array([start for n, start in enumerate(starts) if n == 0 or start - starts[n - 1] > 0.1])


def onsets(on):
    return np.flatnonzero(on & ~np.r_[False, on[:-1]])
