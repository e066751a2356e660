"""YOLOX-l (Ge et al., 2021)."""

from functools import partial

import numpy as np
import onnx

from tests.data.full_models.network import ALMOST_NOTHING, NO, Network

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
