"""RTMPose-l for 133 points at 384x288 (Jiang et al., 2023), with the head of DWPose (Yang et al., 2023)."""

import itertools
from functools import partial

import numpy as np
import onnx

from tests.data.full_models.network import ALMOST_NOTHING, Network

CSPNEXT = [(64, 128, 3), (128, 256, 6), (256, 512, 6), (512, 1024, 3)]
POINTS, CELLS, TOKEN, HIDDEN, SHARED = 133, 12 * 9, 256, 512, 128  # hidden: of the gated unit; shared: queries and keys
BINS = {"simcc_x": 2 * 288, "simcc_y": 2 * 384}


def pose() -> onnx.ModelProto:
    """All points are seen, at random places in the middle half of the person's box."""
    net = Network()

    def block(x, width, residual):
        y = net.conv(net.conv(x, width, width, 3), width, width, 5, groups=width)
        y = net.conv(y, width, width)
        return net("Add", x, y) if residual else y

    x = net.conv(net.conv(net.conv("input", 3, 32, 3, 2), 32, 32, 3), 32, 64, 3)
    for inputs, outputs, blocks in CSPNEXT:
        x = net.conv(x, inputs, outputs, 3, 2)
        last = outputs == 1024
        x = net.spp(x, outputs) if last else x
        x = net.csp(x, outputs, outputs, partial(block, residual=not last), blocks, attention=True)
    x = net.conv(x, 1024, POINTS, 7, act=None)
    x = net("Reshape", x, np.int64([0, POINTS, CELLS]))
    x = _gated_attention(net, net.linear(_scale_norm(net, x, CELLS), CELLS, TOKEN))
    for name, bins in BINS.items():
        scores = net("Mul", net.linear(x, TOKEN, bins), np.float32(ALMOST_NOTHING))
        peaks = np.zeros((1, POINTS, bins), np.float32)
        peaks[0, np.arange(POINTS), net.rng.integers(bins // 4, bins - bins // 4, POINTS)] = 1
        net("Add", scores, peaks, out=name)
    return net.model({"input": ("n", 3, 384, 288)}, {name: ("n", POINTS, bins) for name, bins in BINS.items()})


def _scale_norm(net: Network, x: str, width: int) -> str:
    """Each token with a root mean square of one."""
    length = net("Mul", net("ReduceL2", x, axes=[-1], keepdims=1), np.float32(width**-0.5))
    return net("Div", x, net("Max", length, np.float32(1e-5)))


def _gated_attention(net: Network, x: str) -> str:
    """One gated attention unit (Hua et al., 2022) with squared ReLU in the place of softmax."""
    joined = net.linear(_scale_norm(net, x, TOKEN), TOKEN, 2 * HIDDEN + SHARED, act="Silu")
    ends = np.cumsum([[0], [HIDDEN], [HIDDEN], [SHARED]], axis=0)
    gate, values, base = (net("Slice", joined, *between, np.int64([2])) for between in itertools.pairwise(ends))
    queries, keys = (net("Add", net("Mul", base, net._bias(SHARED)), net._bias(SHARED)) for _ in range(2))
    fits = net("MatMul", queries, net("Transpose", keys, perm=[0, 2, 1]))
    fits = net("Relu", net("Mul", fits, np.float32(SHARED**-0.5)))
    seen = net("Mul", gate, net("MatMul", net("Mul", fits, fits), values))
    return net("Add", x, net.linear(seen, HIDDEN, TOKEN))
