"""Programs compiled for devices that need not be here, and what they take of one."""

import dataclasses
import re

import jax

from actavatar_jax.planning.chips import GIB

# Without a GPU to measure on, XLA finds no tile sizes for some matrix products of its own GEMM generator.
ABSENT = {"cuda": {"xla_gpu_enable_triton_gemm": False}, "tpu": {}}  # options for devices that are not here


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes of one device. Of a program that the compiler refuses as too large, only the peak is known."""

    peak: int  # the program and the most that is alive at once
    arguments: int | None = None
    temporaries: int | None = None  # whatever else is alive at the peak
    output: int | None = None
    alias: int | None = None  # of the output, in the place of arguments
    host: int | None = None  # of the host, for what is offloaded


def measure(lowered: jax.stages.Lowered, options: dict | None = None) -> tuple[Memory, jax.stages.Compiled | None]:
    """What a program takes, and the program compiled; None in its place where the compiler refuses it as too large."""
    try:
        compiled = lowered.compile(options)
    except jax.errors.JaxRuntimeError as error:
        needed = too_large(str(error))
        if needed is None:
            raise
        return Memory(peak=needed), None
    stats = compiled.memory_analysis()
    # `temp_size_in_bytes` of a TPU program is more than is alive at once: libtpu compiles programs for v6e (31.25 GiB)
    # whose arguments and temporaries add up to 42, and begins to save memory where the peak comes near to 31.
    memory = Memory(
        peak=stats.peak_memory_in_bytes + stats.generated_code_size_in_bytes,
        arguments=stats.argument_size_in_bytes,
        temporaries=stats.peak_memory_in_bytes - stats.argument_size_in_bytes,
        output=stats.output_size_in_bytes,
        alias=stats.alias_size_in_bytes,
        host=stats.host_temp_size_in_bytes,
    )
    return memory, compiled


def too_large(message: str) -> int | None:
    """Bytes that a compiler says a program needs, in its error about too little memory; None in any other error."""
    if "RESOURCE_EXHAUSTED" not in message:
        return None
    found = re.search(r"Used ([\d.]+)([KMGT]) of|\(([\d.]+)([KMGT])\) exceeds", message)
    if not found:
        return None
    number, unit = [part for part in found.groups() if part]
    return int(float(number) * {"K": 2**10, "M": 2**20, "G": GIB, "T": 2**40}[unit])
