"""SyncNet (Chung and Zisserman, 2016)."""

import onnx

from tests.data.full_models.network import Network

# width, kernel, stride, padding; without a width, of maxima
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
