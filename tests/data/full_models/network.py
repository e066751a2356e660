"""Graphs of layers with random weights, and how large they are."""

import math
from collections.abc import Callable

import numpy as np
import onnx

from actavatar_jax.onnx_files import count_products
from tests.data.tiny_models import Graph

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


def size(model: onnx.ModelProto) -> tuple[int, int]:
    """Parameters and multiply-adds, for one input, of the convolutions and matrix products."""
    constants = {constant.name: math.prod(constant.dims) for constant in model.graph.initializer}
    layers = (node for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul"))
    parameters = sum(constants.get(name, 0) for node in layers for name in node.input[1:])
    sides = {value.name: value.type.tensor_type.shape.dim for value in model.graph.input}
    shapes = {name: tuple(side.dim_value or 1 for side in dims) for name, dims in sides.items()}
    return parameters, count_products(model, shapes)
