"""IResNet-50 of ArcFace (Deng et al., 2019), as insightface's w600k_r50.onnx."""

import numpy as np
import onnx

from tests.data.full_models.network import Network

STAGES = [(64, 64, 3), (64, 128, 4), (128, 256, 14), (256, 512, 3)]  # channels in and out, blocks
EMBEDDING, PLACES = 512, 7 * 7


def embedder() -> onnx.ModelProto:
    """An embedding of every picture; near pictures have near ones, whoever they show."""
    net = Network()

    def prelu(x, width):
        return net("PRelu", x, np.full((width, 1, 1), 0.25, np.float32))

    def block(x, inputs, outputs, stride):
        y = prelu(net.conv(x, inputs, outputs, 3, act=None), outputs)
        y = net.conv(
            y, outputs, outputs, 3, stride, act=None, scale=0.3
        )  # so that sums do not grow from block to block
        return net("Add", y, net.conv(x, inputs, outputs, 1, 2, act=None) if stride > 1 else x)

    x = prelu(net.conv("input.1", 3, 64, 3, act=None), 64)
    for inputs, outputs, blocks in STAGES:
        for number in range(blocks):
            x = block(x, outputs if number else inputs, outputs, 1 if number else 2)
    x = net.dense(net("Flatten", x), 512 * PLACES, EMBEDDING)
    net("Identity", x, out="683")
    return net.model({"input.1": ("n", 3, 112, 112)}, {"683": ("n", EMBEDDING)})
