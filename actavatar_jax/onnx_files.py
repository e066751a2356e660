"""Networks in ONNX files that others publish: opened once, and only if they take and give what is expected of them."""

from functools import cache
from pathlib import Path

from actavatar_jax.errors import InputError
from actavatar_jax.published import FILES

Shape = tuple[int | None, ...]  # None: any size


@cache
def load_model(path: Path, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]):
    """An onnxruntime session on one thread (workers are processes), loaded once per process.

    inputs, outputs: the shapes that the model must have, in order. Raises InputError for a broken file, another model.
    """
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as errors
    except ImportError as error:
        raise InputError(f'this needs onnxruntime: pip install "actavatar-jax[data]" ({error})') from error

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors; the exporters' unused constants are nobody's business
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except (errors.Fail, errors.InvalidProtobuf, errors.InvalidGraph, errors.InvalidArgument) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: not an ONNX model that can be run, or a broken one ({reason})") from error
    for verb, wanted, found in (("takes", inputs, session.get_inputs()), ("gives", outputs, session.get_outputs())):
        shapes = tuple(tuple(side if isinstance(side, int) else None for side in value.shape) for value in found)
        if len(shapes) != len(wanted) or not all(map(_fits, shapes, wanted)):
            known = FILES[path.name].title
            raise InputError(f"{path}: it {verb} {_text(shapes)}; accepted is what {verb} {_text(wanted)}: {known}")
    return session


def run_model(session, *arrays) -> list:
    """The outputs of a session for arrays in the order of its inputs."""
    return session.run(None, {value.name: array for value, array in zip(session.get_inputs(), arrays, strict=True)})


def _fits(shape: Shape, wanted: Shape) -> bool:
    return len(shape) == len(wanted) and all(
        None in pair or pair[0] == pair[1] for pair in zip(shape, wanted, strict=True)
    )


def _text(shapes: tuple[Shape, ...]) -> str:
    return " and ".join("[" + ", ".join("any" if side is None else str(side) for side in s) + "]" for s in shapes)
