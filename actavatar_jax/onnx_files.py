"""Networks in ONNX files that others publish: opened once, and only if they take and give what is expected of them.

They run on a device that onnxruntime offers, or on the processor. `ACTAVATAR_ONNX` asks for one of `PROVIDERS`, and
holds in every worker. Without it, it is CUDA where onnxruntime has it, but the processor in workers: they are many, and
each would load all models onto the device.
"""

import itertools
import math
import multiprocessing
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from actavatar_jax.errors import InputError
from actavatar_jax.published import FILES
from actavatar_jax.storage import shown

VARIABLE = "ACTAVATAR_ONNX"
_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
PROVIDERS = {  # what a device lacks is done by the next one
    "cpu": (_CPU,),
    "cuda": (_CUDA, _CPU),
    "tensorrt": ("TensorrtExecutionProvider", _CUDA, _CPU),
}
BATCH = 8  # pictures that a model gets at a time, where it takes several
Shape = tuple[int | None, ...]  # None: any size


@cache
def load_model(path: Path, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...], title: str | None = None):
    """An onnxruntime session on one thread (workers are processes) or on a device, loaded once per process.

    inputs, outputs: the shapes that the model must have, in order. title: what it is then; None: what `FILES` says of a
    file of that name. Raises InputError for a broken file, another model, a device that does not work (see
    `choose_providers`).
    """
    onnxruntime = _onnxruntime()
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    providers = choose_providers()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors; the exporters' unused constants are nobody's business
    try:
        session = onnxruntime.InferenceSession(path, options, providers=providers)
    except (errors.Fail, errors.InvalidProtobuf, errors.InvalidGraph, errors.InvalidArgument) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: not an ONNX model that can be run, or a broken one ({reason})") from error
    if session.get_providers()[0] != providers[0]:  # onnxruntime says why, and goes on without
        raise InputError(f"{path}: onnxruntime offers {providers[0]}, but cannot start it; what it said is above")
    for verb, wanted, found in (("takes", inputs, session.get_inputs()), ("gives", outputs, session.get_outputs())):
        shapes = tuple(tuple(side if isinstance(side, int) else None for side in value.shape) for value in found)
        if len(shapes) != len(wanted) or not all(map(_fits, shapes, wanted)):
            known = title or FILES[path.name].title
            raise InputError(f"{path}: it {verb} {_text(shapes)}; accepted is what {verb} {_text(wanted)}: {known}")
    return session


def run_model(session, *arrays) -> list:
    """The outputs of a session for arrays in the order of its inputs."""
    return session.run(None, {value.name: array for value, array in zip(session.get_inputs(), arrays, strict=True)})


def run_batches(session, inputs: Iterable[np.ndarray]) -> Iterator[list]:
    """The outputs for each of the inputs, of one shape and without batch axis, as many at a time as the model takes."""
    fixed = isinstance(session.get_inputs()[0].shape[0], int)
    inputs = iter(inputs)
    while batch := list(itertools.islice(inputs, 1 if fixed else BATCH)):
        yield from map(list, zip(*run_model(session, np.stack(batch)), strict=True))


def count_products(model: Any, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Multiply-adds of the convolutions and matrix products of an `onnx.ModelProto`, for inputs of these shapes by
    their names, which it then has. InputError where the shape of one does not follow from them."""
    import onnx

    for value in model.graph.input:
        for side, size in zip(value.type.tensor_type.shape.dim, shapes.get(value.name, ()), strict=False):
            side.dim_value = size
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    known = {constant.name: tuple(constant.dims) for constant in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        known[value.name] = tuple(side.dim_value for side in value.type.tensor_type.shape.dim)
    products = 0
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            weights, outputs = known.get(node.input[1], (0,)), known.get(node.output[0], (0,))
            if not math.prod(weights) * math.prod(outputs):
                raise InputError(f"The shape of {node.output[0]} does not follow from the inputs {dict(shapes)}.")
            products += math.prod(outputs) * (math.prod(weights[1:]) if node.op_type == "Conv" else weights[-2])
    return products


def choose_providers() -> list[str]:
    """The execution providers for a session, the first of which is to do the work.

    Raises InputError where another one is asked for than this onnxruntime offers.
    """
    offered, asked = _onnxruntime().get_available_providers(), os.environ.get(VARIABLE)
    if not asked:
        asked = "cuda" if _CUDA in offered and multiprocessing.parent_process() is None else "cpu"
    if asked not in PROVIDERS:
        raise InputError(f"{VARIABLE}={shown(asked)}: accepted are {', '.join(PROVIDERS)}")
    if PROVIDERS[asked][0] not in offered:
        there = [name for name, providers in PROVIDERS.items() if providers[0] in offered]
        raise InputError(
            f"{VARIABLE}={asked}, but this onnxruntime offers {', '.join(there)}; devices need onnxruntime-gpu"
        )
    return [provider for provider in PROVIDERS[asked] if provider in offered]


def _onnxruntime():
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(f'this needs onnxruntime: pip install "actavatar-jax[data]" or "[eval]" ({error})') from error
    return onnxruntime


def _fits(shape: Shape, wanted: Shape) -> bool:
    return len(shape) == len(wanted) and all(
        None in pair or pair[0] == pair[1] for pair in zip(shape, wanted, strict=True)
    )


def _text(shapes: tuple[Shape, ...]) -> str:
    return " and ".join("[" + ", ".join("any" if side is None else str(side) for side in s) + "]" for s in shapes)
