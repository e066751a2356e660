"""Small frames made large enough to be looked at."""

import numpy as np
from jaxtyping import UInt8
from PIL import Image

SIDE = 512  # pixels across to which films are enlarged: players show smaller ones as a stamp

# Of puppets drawn at 128 px and enlarged, against the same drawn at 512 px: nearest 27.4 dB, bilinear 28.7, bicubic
# 29.4, Lanczos 29.7 (from 64 px 24.1, 24.9, 25.4, 25.5). Sharpening adds 0.1 dB, and bright seams along outlines.
FILTER = Image.Resampling.LANCZOS


def enlarged(frames: UInt8[np.ndarray, "F h w 3"], width: int = SIDE) -> UInt8[np.ndarray, "F H W 3"]:
    """The frames at `width` pixels across, an even number, and as high as goes with it."""
    height = 2 * round(width * frames.shape[1] / frames.shape[2] / 2)
    return np.stack([np.asarray(Image.fromarray(frame).resize((width, height), FILTER)) for frame in frames])
