"""Models of a few operations with the inputs and outputs of the real ones, and something to detect."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from actavatar_jax import functional
from actavatar_jax.models.syncnet import SyncNet, SyncNetConfig
from actavatar_jax.weights import Exported, pth
from actavatar_jax.weights.tables import syncnet as table

KINDS = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.int64): TensorProto.INT64}


class Graph:
    """Nodes and constants, one line each; `model` is what they make, and `save` writes it."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def __call__(self, op: str, *inputs, out: str | None = None, **attributes) -> str:
        """Adds a node and returns the name of its output; arrays and numbers among the inputs become constants."""
        out = out or f"{op}{len(self.nodes)}"
        names = [value if isinstance(value, str) else self._constant(np.asarray(value)) for value in inputs]
        self.nodes.append(helper.make_node(op, names, [out], **attributes))
        return out

    def _constant(self, value: np.ndarray) -> str:
        value = value.astype(np.float32) if value.dtype.kind == "f" else value.astype(np.int64)
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def model(self, inputs: dict[str, tuple], outputs: dict[str, tuple]) -> onnx.ModelProto:
        def values(shapes):
            kinds = {name: TensorProto.INT64 if name == "sr" else TensorProto.FLOAT for name in shapes}
            return [helper.make_tensor_value_info(name, kinds[name], shape) for name, shape in shapes.items()]

        graph = helper.make_graph(self.nodes, "tiny", values(inputs), values(outputs), self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.checker.check_model(model)
        return model

    def save(self, path: Path, inputs: dict[str, tuple], outputs: dict[str, tuple]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(self.model(inputs, outputs), path)
        return path


FACE = 128  # pixels of the box around a red square
KEYPOINTS = [0] * 6 + [0, 1, 1, 1]  # in cells: both corners of the mouth at its lower edge


def face(path: Path) -> Path:
    """YuNet's twelve outputs; a face is where red exceeds green in a cell of 32 pixels."""
    graph, outputs = Graph(), {}
    red = graph("Conv", "input", np.float32([0, -1, 1]).reshape(1, 3, 1, 1) / 10)
    for stride in (8, 16, 32):
        cells = graph("AveragePool", red, kernel_shape=[stride] * 2, strides=[stride] * 2)
        score = graph("Sigmoid", graph("Add", cells, np.float32([-10 if stride == 32 else -99]).reshape(1, 1, 1, 1)))
        flat = graph("Reshape", graph("Transpose", score, perm=[0, 2, 3, 1]), np.int64([1, -1, 1]))
        for name in ("cls", "obj"):
            graph("Identity", flat, out=f"{name}_{stride}")
        size = np.log(FACE / stride)
        for name, bias in (("bbox", [0.5, 0.5, size, size]), ("kps", KEYPOINTS)):
            weights = np.zeros((len(bias), 1, 1, 1), np.float32)
            values = graph("Conv", cells, weights, np.float32(bias))
            values = graph("Transpose", values, perm=[0, 2, 3, 1])
            graph("Reshape", values, np.int64([1, -1, len(bias)]), out=f"{name}_{stride}")
    for name, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
        outputs |= {f"{name}_{stride}": (1, (640 // stride) ** 2, width) for stride in (8, 16, 32)}
    return graph.save(path, {"input": (1, 3, 640, 640)}, outputs)


def text(path: Path) -> Path:
    """PP-OCR's map of text; text is what is white."""
    graph = Graph()
    mean = graph("Conv", "x", np.full((1, 3, 1, 1), 20 / 3, np.float32), np.float32([-30]))
    graph("Sigmoid", mean, out="map")
    return graph.save(path, {"x": ("n", 3, "h", "w")}, {"map": ("n", 1, "h", "w")})


def voice(path: Path) -> Path:
    """Silero's detector; speech is what is loud, except in the first chunk, when the state is still zero."""
    graph = Graph()
    power = graph("ReduceMean", graph("Mul", "input", "input"), axes=[1], keepdims=1)
    loud = graph("Sigmoid", graph("Mul", graph("Add", power, np.float32([-0.001])), np.float32([1e6])))
    started = graph("ReduceMean", "state", axes=[0, 2], keepdims=0)
    graph("Mul", loud, graph("Reshape", started, np.int64([-1, 1])), out="output")
    graph("Add", graph("Mul", "state", np.float32([0])), np.float32([1]), out="stateN")
    inputs = {"input": (None, None), "state": (2, None, 128), "sr": ()}
    return graph.save(path, inputs, {"output": (None, 1), "stateN": (None, None, None)})


def quality(path: Path) -> Path:
    """DOVER's two scores: the mean of each view."""
    graph = Graph()
    for view, score in (("aes_view", "aesthetic"), ("tech_view", "technical")):
        graph("ReduceMean", view, axes=[1, 2, 3, 4], keepdims=0, out=score)
    shape = (3, 32, 224, 224)
    return graph.save(path, {"aes_view": (1, *shape), "tech_view": (3, *shape)}, {"aesthetic": (1,), "technical": (3,)})


SEEN_TO_HEARD = 0.1  # log energy per red (0..255)


def syncnet(path: Path) -> Path:
    """SyncNet's file: how red a frame or the one after it is, and log energies of their sound, without their means.

    A convolution has one tap, and what is pooled are maxima: of red, and of the sound's largest coefficient, which is
    the energy. Four features for four pairs of frames; the sound of a pair is seven vectors.
    """
    config = SyncNetConfig(lips=(5, 8, 4, 4, 4, 4), sound=(1, 1, 1, 1, 1, 4), hidden=4, features=4)
    shapes = functional.flatten(functional.abstract(SyncNet, config))
    params = {name: np.full(leaf.shape, name.endswith(("scale", "var")), np.float32) for name, leaf in shapes.items()}

    def kernel(layer: str, *taps: tuple[int, ...]) -> np.ndarray:
        """The kernel of a layer, with 1 at these taps: (frame,) row, column, input, output."""
        values = params[f"{layer}/kernel"]
        for tap in taps:
            values[tap] = 1
        return values

    red = kernel("lip_tower/layers/0/conv", *((frame, 3, 3, 2, frame) for frame in range(5)))  # of BGR
    red *= SEEN_TO_HEARD
    rising = kernel("lip_tower/layers/1/conv", *((2, 2, i + more, i + 4 * more) for i in range(4) for more in (0, 1)))
    for i in range(4):
        rising[2, 2, i, i + 4] = -1
    kernel("lip_tower/layers/2/conv", *((1, 1, i, i % 4) for i in range(8)))
    for layer in (3, 4):
        kernel(f"lip_tower/layers/{layer}/conv", *((1, 1, i, i) for i in range(4)))
    kernel("lip_tower/layers/5/conv", *((2, 2, i, i) for i in range(4)))  # the middle of a face lies above the crop's

    for layer in range(5):
        kernel(f"sound_tower/layers/{layer}/conv", (1, 1, 0, 0))
    kernel("sound_tower/layers/5/conv", *((0, i, 0, i) for i in range(4)))
    for head in ("lip_head", "sound_head"):
        params[f"{head}/hidden/kernel"][:] = np.eye(4)
        params[f"{head}/out/kernel"][:] = np.eye(4) - 1 / 4
    return write_syncnet(path, config, functional.unflatten(params))


def write_syncnet(path: Path, config: SyncNetConfig, params: functional.Params) -> Path:
    """The parameters as the authors' file has them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pth.write_pth(path, Exported(table.original(config), params))
    return path


PERSON = (160, 96)  # centre of the person's box in the detector's picture; it is 128 wide and 192 high


def person(path: Path) -> Path:
    """YOLOX's raw grid; a person where blue (channel 0, as trained on BGR) exceeds red, and beside it a larger dog."""
    grid = np.zeros((1, 8400, 85), np.float32)
    for (x, y), size, kind in ((PERSON, (128, 192), 0), ((320, 320), (600, 600), 16)):
        cell = 6400 + 1600 + (y // 32) * 20 + x // 32  # of the coarsest grid
        grid[0, cell, :4] = 0, 0, *np.log(np.array(size) / 32)
        grid[0, cell, [4, 5 + kind]] = 1
    graph = Graph()
    blue = graph("ReduceMean", graph("Conv", "images", np.float32([1, 0, -1]).reshape(1, 3, 1, 1)), axes=[1, 2, 3])
    sure = graph("Reshape", graph("Sigmoid", blue), np.int64([1, 1, 1]))
    only_score = np.zeros((1, 1, 85), np.float32)
    only_score[..., 4] = 1
    keep = graph("Add", graph("Mul", sure, only_score), 1 - only_score)
    graph("Mul", keep, grid, out="output")
    return graph.save(path, {"images": (1, 3, 640, 640)}, {"output": (1, 8400, 85)})


def pose(path: Path) -> Path:
    """DWPose's two distributions: every point in the middle, with confidence where blue (channel 2) exceeds red."""
    graph = Graph()
    blue = graph("ReduceMean", graph("Conv", "input", np.float32([-1, 0, 1]).reshape(1, 3, 1, 1)), axes=[1, 2, 3])
    sure = graph("Reshape", graph("Sigmoid", blue), np.int64([-1, 1, 1]))
    for name, bins in (("simcc_x", 576), ("simcc_y", 768)):
        peak = np.zeros((1, 133, bins), np.float32)
        peak[..., bins // 2] = 1
        graph("Mul", sure, peak, out=name)
    return graph.save(path, {"input": ("n", 3, 384, 288)}, {"simcc_x": ("n", 133, 576), "simcc_y": ("n", 133, 768)})


def all_models(folder: Path) -> Path:
    """A folder with every model."""
    for make in (face, text, voice, quality, person, pose):
        make(folder / f"{make.__name__}.onnx")
    syncnet(folder / "syncnet_v2.model")
    return folder
