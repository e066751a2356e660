"""On what the filters' ONNX models run: a device that onnxruntime offers, or the processor.

`ACTAVATAR_ONNX` asks for one of `PROVIDERS`, and holds in every worker. Without it, it is CUDA where onnxruntime has
it, but the processor in workers: they are many, and each would load all models onto the device.
"""

import multiprocessing
import os

from actavatar_jax.errors import InputError
from actavatar_jax.storage import shown
from data_pipelines.table import import_extra

VARIABLE = "ACTAVATAR_ONNX"
_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
PROVIDERS = {  # what a device lacks is done by the next one
    "cpu": (_CPU,),
    "cuda": (_CUDA, _CPU),
    "tensorrt": ("TensorrtExecutionProvider", _CUDA, _CPU),
}


def choose_providers() -> list[str]:
    """The execution providers for a session, the first of which is to do the work.

    Raises InputError where another one is asked for than this onnxruntime offers.
    """
    offered, asked = import_extra("onnxruntime").get_available_providers(), os.environ.get(VARIABLE)
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
