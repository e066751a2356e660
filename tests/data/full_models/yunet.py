"""YuNet (Wu et al., 2023): the smaller of its authors' two, for which alone the file in OpenCV's zoo has room."""

import math

import numpy as np
import onnx

from actavatar_jax.evaluation.faces import SIDE, TEMPLATE
from tests.data.full_models.network import ALMOST_NOTHING, NO, Network
from tests.data.tiny_models import FACE

YUNET = [(16, 16), (16, 32), (32, 64), (64, 64), (64, 64), (64, 64)]  # widths of the stages, of which 0 is the stem
HALVED, USED = (0, 2, 3, 4), (3, 4, 5)  # stages whose output is made half as large; whose output is looked at


def face() -> onnx.ModelProto:
    """One face in the middle of the picture, of 128 of its 640 pixels, that looks ahead. OpenCV runs it at every size
    of picture."""
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
        marks = 1 + (TEMPLATE / SIDE - 0.5).ravel() * (FACE / stride)  # in cells; the face is a cell further on
        constants = {"cls": [NO], "obj": [NO], "bbox": [1, 1, size, size], "kps": marks}
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
