"""Sound files with known contents."""

import av
import numpy as np


def tones(rate, seconds, *frequencies, level=0.5):
    """float32 [channels, n]: each channel holds the tone of its frequency in Hz (0: silence)."""
    times = np.arange(round(rate * seconds)) / rate
    return (level * np.sin(2 * np.pi * np.array(frequencies)[:, None] * times)).astype(np.float32)


def encode(path, samples, rate, codec="pcm_s16le", form="s16"):
    """samples [channels, n] as an audio file of any codec."""
    values = samples
    if form.startswith("s16"):
        values = np.round(samples * 32767).astype(np.int16)
    if form.startswith("s32"):
        values = np.round(samples.astype(np.float64) * (2**31 - 1)).astype(np.int32)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=f"{len(samples)}c")
        for start in range(0, values.shape[1], 1024):
            block = np.ascontiguousarray(values[:, start : start + 1024])
            if not form.endswith("p"):
                block = block.T.reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(block, format=form, layout=stream.layout.name)
            frame.sample_rate, frame.pts = rate, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
