"""The filters' model files, all but one in ONNX, in one folder under agreed names; none comes with this project."""

import itertools
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import numpy as np

from actavatar_jax.errors import InputError
from actavatar_jax.published import FILES
from data_pipelines.filters.providers import choose_providers
from data_pipelines.table import import_extra

NEEDED = {  # by filter; `voice` and `quality` measure something without theirs
    "voice": ("voice.onnx",),
    "quality": ("quality.onnx",),
    "text_area": ("text.onnx",),
    "faces": ("face.onnx",),
    "sync": ("face.onnx", "syncnet_v2.model"),
    "motion": ("person.onnx", "pose.onnx"),
}
MODELS = tuple(dict.fromkeys(name for names in NEEDED.values() for name in names))
BATCH = 8  # pictures that a model gets at a time, where it takes several
Shape = tuple[int | None, ...]  # None: any size


def find_models(folder: Path | None, step: str) -> tuple[Path, ...] | None:
    """The paths of the models that a filter needs, None unless all are there."""
    names = NEEDED[step]
    if folder is None or not all((folder / name).is_file() for name in names):
        return None
    return tuple(folder / name for name in names)


@cache
def load_model(path: Path, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]):
    """An onnxruntime session on one thread (workers are processes) or on a device, loaded once per process.

    inputs, outputs: the shapes that the model must have, in order. Raises InputError for a broken file, another model,
    a device that does not work (see `choose_providers`).
    """
    onnxruntime = import_extra("onnxruntime")
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors; the exporters' unused constants are nobody's business
    providers = choose_providers()
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
            known = FILES[path.name].title
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


def _fits(shape: Shape, wanted: Shape) -> bool:
    return len(shape) == len(wanted) and all(
        None in pair or pair[0] == pair[1] for pair in zip(shape, wanted, strict=True)
    )


def _text(shapes: tuple[Shape, ...]) -> str:
    return " and ".join("[" + ", ".join("any" if side is None else str(side) for side in s) + "]" for s in shapes)
