"""Whether the camera moves: the flow of the background, outside of the person."""

import numpy as np
from jaxtyping import Float, UInt8

from actavatar_jax.keypoints import CONFIDENT
from actavatar_jax.media.clock import FPS
from data_pipelines.filters.pictures import shrink_frame
from data_pipelines.table import import_extra

SIDE = 320  # pixels of the long side
AROUND = 0.25  # of the person's box, on each side: hair, sleeves, shadows
FEWEST, MOST = 8, 200  # corners that are followed


class CameraMotion:
    """Sees every fifth frame of a clip; holds one small picture."""

    EVERY = 5

    def __init__(self):
        self.before, self.corners, self.flows = None, None, []

    def add_frame(self, frame: UInt8[np.ndarray, "H W 3"], keypoints: Float[np.ndarray, "133 3"]) -> None:
        """The next picture (RGB) with the person's keypoints: x, y in pixels and confidence."""
        cv2 = import_extra("cv2")
        grey = cv2.cvtColor(shrink_frame(frame, SIDE), cv2.COLOR_RGB2GRAY)
        if self.corners is not None and len(self.corners) >= FEWEST:
            moved, found, _ = cv2.calcOpticalFlowPyrLK(self.before, grey, self.corners, None)
            flow = (moved - self.corners)[found.astype(bool)]
            if len(flow) >= FEWEST:
                self.flows.append(float(np.linalg.norm(np.median(flow, axis=0))) / grey.shape[1])
        background = _background(grey.shape, keypoints, grey.shape[1] / frame.shape[1])
        self.before, self.corners = grey, cv2.goodFeaturesToTrack(grey, MOST, 0.01, 5, mask=background)

    def speed(self) -> float | None:
        """Mean over the clip, in picture widths per second; None where the background shows nothing to follow."""
        return float(np.mean(self.flows)) * FPS / self.EVERY if self.flows else None


def _background(shape: tuple[int, int], keypoints: np.ndarray, scale: float) -> UInt8[np.ndarray, "h w"]:
    """255 outside of the person's box, which ends at the lower border."""
    mask = np.full(shape, 255, np.uint8)
    points = keypoints[keypoints[:, 2] >= CONFIDENT, :2] * scale
    if len(points):
        left, top = points.min(0)
        right, _ = points.max(0)
        room = AROUND * (right - left)
        mask[max(0, int(top - room)) :, max(0, int(left - room)) : max(0, int(right + room))] = 0
    return mask
