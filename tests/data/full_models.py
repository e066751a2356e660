"""ONNX models of the published sizes with random weights, as slow as the real ones, and blind.

    python -m tests.data.full_models FOLDER

writes those whose originals have to be fetched: YuNet, both halves of SyncNet, YOLOX-l and RTMPose-l, which is what
DWPose runs. `launch/bench.py filters` takes the folder. Batch norms are folded into the convolutions, as exporters do.
Detectors see one face or one person in every picture: what random weights compute is scaled to almost nothing, so that
it is still computed, and constants are added to it.
"""

import itertools
import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx

from actavatar_jax.storage.writing import replaced_file
from tests.data.tiny_models import FACE, Graph

ALMOST_NOTHING = 1e-9  # small beside any activation's size, and far from the denormal numbers, which are slow
NO = -15.0  # logit of what is not there


class Network(Graph):
    """A graph of layers with random weights, from the name of what goes in to the name of what comes out."""

    def __init__(self):
        super().__init__()
        self.rng = np.random.default_rng(0)

    def conv(self, x, inputs, outputs, kernel=1, stride=1, *, groups=1, pad=None, act="Silu", scale=1.0, bias=None):
        """A convolution of as many dimensions as `kernel` has; pad: on each side, by default half of the kernel."""
        kernel = _sides(kernel)
        pads = [side // 2 for side in kernel] if pad is None else _sides(pad, len(kernel))
        weights = self._weights(outputs, inputs // groups, *kernel) * scale
        bias = self._bias(outputs) if bias is None else np.float32(bias)
        strides = _sides(stride, len(kernel))
        x = self("Conv", x, weights, bias, kernel_shape=kernel, strides=strides, pads=[*pads, *pads], group=groups)
        return self._activated(x, act)

    def pool(self, x, kernel, stride, pad=0):
        kernel = _sides(kernel)
        pads = _sides(pad, len(kernel))
        return self("MaxPool", x, kernel_shape=kernel, strides=_sides(stride, len(kernel)), pads=[*pads, *pads])

    def linear(self, x, inputs, outputs, *, act=None):
        return self._activated(self("MatMul", x, self._weights(inputs, outputs, fan_in=inputs)), act)

    def dense(self, x, inputs, outputs, *, act=None):
        """A linear layer with a bias, for one vector per input."""
        x = self("Gemm", x, self._weights(inputs, outputs, fan_in=inputs), self._bias(outputs))
        return self._activated(x, act)

    def concat(self, *parts, axis=1):
        return self("Concat", *parts, axis=axis)

    def double(self, x):
        """Twice as high and wide."""
        nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self("Resize", x, "", np.float32([1, 1, 2, 2]), **nearest)

    def spp(self, x, width):
        """Spatial pyramid pooling: the largest values of 5, 9 and 13 cells around, beside the cells themselves."""
        x = self.conv(x, width, width // 2)
        x = self.concat(x, *(self.pool(x, (side, side), 1, side // 2) for side in (5, 9, 13)))
        return self.conv(x, 2 * width, width)

    def csp(self, x, inputs, outputs, block: Callable[[str, int], str], blocks: int, attention=False):
        """A cross-stage partial layer: half of the channels go through the blocks, the other half past them."""
        half = outputs // 2
        main, past = self.conv(x, inputs, half), self.conv(x, inputs, half)
        for _ in range(blocks):
            main = block(main, half)
        x = self.concat(main, past)
        if attention:
            mean = self("GlobalAveragePool", x)
            gate = self("HardSigmoid", self.conv(mean, outputs, outputs, act=None), alpha=1 / 6)
            x = self("Mul", x, gate)
        return self.conv(x, outputs, outputs)

    def _activated(self, x, act):
        if act == "Silu":
            return self("Mul", x, self("Sigmoid", x))
        return self(act, x) if act else x

    def _weights(self, *shape, fan_in=None):
        """He's scale, which keeps activations of one size from layer to layer."""
        std = math.sqrt(2 / (fan_in or math.prod(shape[1:])))
        return self.rng.standard_normal(shape, np.float32) * np.float32(std)

    def _bias(self, width):
        return self.rng.standard_normal(width, np.float32) / 2


def _sides(value, dimensions=2) -> list[int]:
    return [value] * dimensions if isinstance(value, int) else list(value)


# ---- YuNet (Wu et al., 2023): the smaller of its authors' two, for which alone the file in OpenCV's zoo has room

YUNET = [(16, 16), (16, 32), (32, 64), (64, 64), (64, 64), (64, 64)]  # widths of the stages, of which 0 is the stem
HALVED, USED = (0, 2, 3, 4), (3, 4, 5)  # stages whose output is made half as large; whose output is looked at


def face() -> onnx.ModelProto:
    """One face in the middle of the picture, of 128 of its 640 pixels. OpenCV runs it at every size of picture."""
    net = Network()

    def unit(x, inputs, outputs, act="Relu", **last):
        """A pointwise and a depthwise convolution."""
        x = net.conv(x, inputs, outputs, act=None)
        return net.conv(x, outputs, outputs, 3, groups=outputs, act=act, **last)

    x, levels = unit(net.conv("input", 3, 16, 3, 2, act="Relu"), 16, 16), []
    for stage, (inputs, outputs) in enumerate(YUNET):
        if stage > 0:
            x = unit(unit(x, inputs, inputs), inputs, outputs)
        if stage in USED:
            levels.append(x)
        if stage in HALVED:
            x = net.pool(x, 2, 2)
    for low in (1, 0):
        levels[low + 1] = unit(levels[low + 1], 64, 64)
        levels[low] = net("Add", levels[low], net.double(levels[low + 1]))
    levels[0] = unit(levels[0], 64, 64)

    outputs = {}
    for stride, x in zip((8, 16, 32), levels, strict=True):
        size = math.log(FACE / stride)
        constants = {"cls": [NO], "obj": [NO], "bbox": [1, 1, size, size], "kps": [0] * 10}
        heads = {
            name: unit(x, 64, len(constant), act=None, scale=ALMOST_NOTHING, bias=constant)
            for name, constant in constants.items()
        }
        middle = _middle(net, heads["cls"]) if stride == 32 else np.zeros((1, 1, 1, 1), np.float32)
        for name in ("cls", "obj"):
            heads[name] = net("Sigmoid", net("Add", heads[name], middle))
        for name, values in heads.items():
            width, cells = len(constants[name]), net("Transpose", values, perm=[0, 2, 3, 1])
            net("Reshape", cells, np.int64([1, -1, width]), out=f"{name}_{stride}")
            outputs[f"{name}_{stride}"] = (1, (640 // stride) ** 2, width)
    return net.model({"input": (1, 3, 640, 640)}, outputs)


def _middle(net: Network, cells: str) -> str:
    """30 for the cell left of and above the middle, at most 10 for others, whatever the size of the picture.

    It has as many cells on its left as on its right, or one less. Kernels as wide as the largest picture count them, as
    there is nothing beyond the border.
    """
    ones, reach, distance = net("Add", net("Mul", cells, np.float32(0)), np.float32(1)), 640 // 32, []
    for shape in ((1, 1, 1, -1), (1, 1, -1, 1)):
        kernel = np.sign(np.arange(-reach, reach + 1, dtype=np.float32)).reshape(shape)
        pads = [reach * (side > 1) for side in kernel.shape[2:]]
        distance.append(net("Abs", net("Conv", ones, kernel, np.float32([-0.5]), pads=[*pads, *pads])))
    return net("Add", net("Mul", net("Add", *distance), np.float32(-20)), np.float32(50))


# ---- SyncNet (Chung and Zisserman, 2016): width, kernel, stride, padding; without a width, of maxima

SYNCNET_VIDEO = [
    (96, (5, 7, 7), (1, 2, 2), (0, 0, 0)),
    (None, (1, 3, 3), (1, 2, 2), (0, 0, 0)),
    (256, (1, 5, 5), (1, 2, 2), (0, 1, 1)),
    (None, (1, 3, 3), (1, 2, 2), (0, 1, 1)),
    *[(256, (1, 3, 3), (1, 1, 1), (0, 1, 1))] * 3,
    (None, (1, 3, 3), (1, 2, 2), (0, 0, 0)),
    (512, (1, 6, 6), (1, 1, 1), (0, 0, 0)),
]
SYNCNET_AUDIO = [
    (64, (3, 3), (1, 1), (1, 1)),
    (192, (3, 3), (1, 1), (1, 1)),
    (None, (3, 3), (1, 2), (0, 0)),
    *[(width, (3, 3), (1, 1), (1, 1)) for width in (384, 256, 256)],
    (None, (3, 3), (2, 2), (0, 0)),
    (512, (5, 4), (1, 1), (0, 0)),
]


def syncnet_video() -> onnx.ModelProto:
    return _syncnet(SYNCNET_VIDEO, "video", (3, 5, 224, 224))


def syncnet_audio() -> onnx.ModelProto:
    return _syncnet(SYNCNET_AUDIO, "audio", (1, 13, 20))


def _syncnet(layers, x: str, shape: tuple[int, ...]) -> onnx.ModelProto:
    net, inputs, width = Network(), {x: ("n", *shape)}, shape[0]
    for outputs, kernel, stride, pad in layers:
        if outputs is None:
            x = net.pool(x, kernel, stride, pad)
        else:
            x, width = net.conv(x, width, outputs, kernel, stride, pad=pad, act="Relu"), outputs
    x = net.dense(net("Flatten", x), 512, 512, act="Relu")
    net("Identity", net.dense(x, 512, 1024), out="features")
    return net.model(inputs, {"features": ("n", 1024)})


# ---- YOLOX-l (Ge et al., 2021)

DARKNET = [(64, 128, 3), (128, 256, 9), (256, 512, 9), (512, 1024, 3)]  # widths and blocks of the stages
CLASSES, HEAD = 80, 256
PERSON, PERSON_SIZE = (192, 192), (160, 320)  # centre, size; pictures of 16:9 and 9:16 are shrunk to the top left


def person() -> onnx.ModelProto:
    """One person, who is inside of every picture from 16:9 to 9:16."""
    net = Network()

    def block(x, width, residual=False):
        y = net.conv(net.conv(x, width, width), width, width, 3)
        return net("Add", x, y) if residual else y

    def stage(x, inputs, outputs, blocks=3, residual=False):
        return net.csp(x, inputs, outputs, partial(block, residual=residual), blocks)

    def head(x, width, constant):
        return net.conv(x, HEAD, width, act=None, scale=ALMOST_NOTHING, bias=np.full(width, constant))

    x, levels = net.conv(_focus(net, "images"), 12, 64, 3), []
    for inputs, outputs, blocks in DARKNET:
        x = net.conv(x, inputs, outputs, 3, 2)
        last = outputs == 1024
        x = stage(net.spp(x, outputs) if last else x, outputs, outputs, blocks, residual=not last)
        levels.append(x)
    _, fine, middle, coarse = levels

    from_coarse = net.conv(coarse, 1024, 512)
    middle = stage(net.concat(net.double(from_coarse), middle), 1024, 512)
    from_middle = net.conv(middle, 512, 256)
    fine = stage(net.concat(net.double(from_middle), fine), 512, 256)
    middle = stage(net.concat(net.conv(fine, 256, 256, 3, 2), from_middle), 512, 512)
    coarse = stage(net.concat(net.conv(middle, 512, 512, 3, 2), from_coarse), 1024, 1024)

    flat = []
    for x, width in ((fine, 256), (middle, 512), (coarse, 1024)):
        x = net.conv(x, width, HEAD)
        what, where = (net.conv(net.conv(x, HEAD, HEAD, 3), HEAD, HEAD, 3) for _ in range(2))
        box, anything, kind = head(where, 4, 0), head(where, 1, NO), head(what, CLASSES, NO)
        cells = net.concat(box, net("Sigmoid", anything), net("Sigmoid", kind))
        flat.append(net("Reshape", cells, np.int64([1, 5 + CLASSES, -1])))
    found = net("Transpose", net.concat(*flat, axis=2), perm=[0, 2, 1])
    net("Add", found, _one_person(), out="output")
    return net.model({"images": (1, 3, 640, 640)}, {"output": (1, 8400, 5 + CLASSES)})


def _focus(net: Network, x: str) -> str:
    """Each four pixels as the channels of one."""
    rows_columns = [(row, column) for column in (0, 1) for row in (0, 1)]
    far = np.int64([2**31, 2**31])
    return net.concat(*(net("Slice", x, np.int64(at), far, np.int64([2, 3]), np.int64([2, 2])) for at in rows_columns))


def _one_person() -> np.ndarray:
    grid = np.zeros((1, 8400, 5 + CLASSES), np.float32)
    cell = 6400 + 1600 + PERSON[1] // 32 * 20 + PERSON[0] // 32  # of the coarsest grid
    grid[0, cell, 2:4] = np.log(np.array(PERSON_SIZE) / 32)
    grid[0, cell, 4:6] = 1  # there is something, and it is of the first class
    return grid


# ---- RTMPose-l for 133 points at 384x288 (Jiang et al., 2023), with the head of DWPose (Yang et al., 2023)

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


# ---- how large they are, and the files


def size(model: onnx.ModelProto) -> tuple[int, int]:
    """Parameters and multiply-adds, for one input, of the convolutions and matrix products."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    constants = {constant.name: tuple(constant.dims) for constant in graph.initializer}
    shapes = {
        value.name: tuple(side.dim_value or 1 for side in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
    } | constants
    parameters = products = 0
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            weights, outputs = shapes[node.input[1]], math.prod(shapes[node.output[0]])
            products += outputs * (math.prod(weights[1:]) if node.op_type == "Conv" else weights[-2])
            parameters += sum(math.prod(constants.get(name, (0,))) for name in node.input[1:])
    return parameters, products


MODELS = (face, syncnet_video, syncnet_audio, person, pose)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for make in MODELS:
        model, path = make(), folder / f"{make.__name__}.onnx"
        parameters, products = size(model)
        with replaced_file(path) as unfinished:
            onnx.save(model, unfinished)
        print(f"{path}: {parameters / 1e6:.2f} M parameters, {products / 1e9:.2f} G multiply-adds")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
