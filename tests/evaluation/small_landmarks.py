"""A stand-in for the network of keypoints: a face that looks ahead, and opens its lips while something is very red."""

from pathlib import Path

import numpy as np

from actavatar_jax.evaluation.dynamics import BROWS, EYES, LOWER, NOSE, UPPER
from tests.data.tiny_models import Graph

D, CLOSED, OPEN = 80, 0.1, 0.4  # half pixels of the network's picture between the eyes; lips, in D
RED = 225  # of 255
MEAN, DEVIATION = 123.675, 58.395  # of red, as the network is given it


def layout(opening: float) -> np.ndarray:
    """Of the 133 points x, y in half pixels."""
    places = np.full((133, 2), (288, 500))
    for side, x in enumerate((248, 248 + D)):
        places[EYES[side]], places[BROWS[side]] = (x, 300), (x, 260)
    places[NOSE] = 288, 350
    for place, (upper, lower) in enumerate(zip(UPPER, LOWER, strict=True)):
        places[upper] = 280 + 8 * place, 380
        places[lower] = 280 + 8 * place, 380 + round(opening * D)
    return places


def pose(path: Path) -> Path:
    """DWPose's two distributions, of which one of two is as high as the picture is red, and the other one lower."""
    graph = Graph()
    reddest = graph("ReduceMax", graph("Conv", "input", np.float32([1, 0, 0]).reshape(1, 3, 1, 1)), axes=[1, 2, 3])
    above = graph("Mul", graph("Sub", reddest, np.float32([(RED - MEAN) / DEVIATION])), np.float32([1e4]))
    is_open = graph("Reshape", graph("Sigmoid", above), np.int64([-1, 1, 1]))
    is_closed = graph("Sub", np.float32([1]), is_open)
    for axis, (name, bins) in enumerate((("simcc_x", 576), ("simcc_y", 768))):
        peaks = []
        for opening, weight in ((CLOSED, is_closed), (OPEN, is_open)):
            peak = np.zeros((1, 133, bins), np.float32)
            peak[0, np.arange(133), layout(opening)[:, axis]] = 1
            peaks.append(graph("Mul", weight, peak))
        graph("Add", *peaks, out=name)
    return graph.save(path, {"input": ("n", 3, 384, 288)}, {"simcc_x": ("n", 133, 576), "simcc_y": ("n", 133, 768)})
