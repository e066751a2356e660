"""Frames pasted into the portrait: its own pixels wherever nothing has changed; still parts are still, and sharp.

Tokenizers normalise over the whole picture, so one mouth more or less open changes every pixel a little. What has
changed is told from the portrait as the tokenizer has it, which differs from a frame by that little, and by what moves.
h w pixels.
"""

import dataclasses

import numpy as np
from jaxtyping import Float32
from scipy import ndimage

UNCHANGED, CHANGED = 0.06, 0.15  # of the range of pixels: below the portrait is shown alone, above the frame alone
AROUND, SOFT = 1 / 64, 1 / 64  # of the picture's side: how far what has changed is widened, and its edge softened


@dataclasses.dataclass(frozen=True, eq=False)
class Paste:
    """The portrait, and the same through the tokenizer and back; pixels in [0, 1]."""

    portrait: Float32[np.ndarray, "h w 3"]
    decoded: Float32[np.ndarray, "h w 3"]

    def __call__(self, frame: Float32[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w 3"]:
        """The frame where something has changed, the portrait elsewhere."""
        share = self.share(frame)[..., None]
        return self.portrait * (1 - share) + frame * share

    def share(self, frame: Float32[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w"]:
        """How much of the frame is shown at each pixel."""
        side = frame.shape[0]
        differs = ndimage.uniform_filter(np.abs(frame - self.decoded).max(-1), 3)
        changed = np.clip((differs - UNCHANGED) / (CHANGED - UNCHANGED), 0, 1)
        widened = ndimage.maximum_filter(changed, 1 + 2 * round(AROUND * side))
        return ndimage.gaussian_filter(widened, SOFT * side).astype(np.float32)
