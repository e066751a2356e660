"""Names of clusters, and compile-only devices for them."""

import importlib.util
import os
import re
from dataclasses import dataclass
from typing import Any

import jax
from jax.experimental import topologies

from actavatar_jax.errors import InputError
from actavatar_jax.planning.chips import CHIPS, Chip, gpu_target

ACCEPTED = (
    "a TPU slice such as v5e:4x4, v6e:2x4, v5p:2x2x2 or tpu7x:2x2x1, up to 8 GPUs of a node such as a100:8, h100:8, "
    "h200:8 or b200:8, several of them with their number in front: 2xv5p:2x2x2, 4xh100:8, or one device of any: v6e:1"
)
NODE = 8  # GPUs
ONE = "1"  # the shape that is one device


@dataclass(frozen=True)
class Topology:
    """`slices` equal slices of TPUs, or nodes of GPUs, of this shape in chips; `ONE` is a single device."""

    chip: Chip
    shape: str
    slices: int = 1

    def __str__(self) -> str:
        return f"{self.slices}x{self.slice_name}" if self.slices > 1 else self.slice_name

    @property
    def slice_name(self) -> str:
        return f"{self.chip.name}:{self.shape}"


def parse(name: str) -> Topology:
    """`[NUMBERx]CHIP:SHAPE`. Raises InputError for what does not exist, with what does."""
    match = re.fullmatch(r"(?:([1-9]\d*)x)?([a-z]\w*):(\d+(?:x\d+)*)", "".join(name.split()).lower())
    if not match or match[2] not in CHIPS:
        raise InputError(f'There is no topology "{name}"; accepted is {ACCEPTED}.')
    slices, chip, shape = int(match[1] or 1), CHIPS[match[2]], match[3]
    if not _exists(chip, shape, slices):
        sizes = ", ".join(("1", *chip.shapes)) if chip.shapes else f"1 to {NODE}"
        more = " and multiples of 4x4x4" if chip.cubes else "" if chip.shapes else "; more of them are several nodes"
        raise InputError(f'There is no topology "{name}": {chip.name} comes as {sizes}{more}.')
    return Topology(chip, shape, slices)


def _exists(chip: Chip, shape: str, slices: int) -> bool:
    sides = [int(side) for side in shape.split("x")]
    if chip.platform == "cuda":
        return len(sides) == 1 and 1 <= sides[0] <= NODE
    if shape == ONE:
        return slices == 1
    return shape in chip.shapes or (chip.cubes and len(sides) == 3 and all(side and side % 4 == 0 for side in sides))


def devices(topology: Topology) -> list[Any]:
    """The devices of a cluster that programs can be compiled for, slice by slice.

    Raises InputError where the compiler for them is not installed, or does not know the topology.
    """
    return _tpus(topology) if topology.chip.platform == "tpu" else _gpus(topology)


def _tpus(topology: Topology) -> list[Any]:
    if importlib.util.find_spec("libtpu") is None:
        raise InputError(f"Planning for {topology} needs libtpu, which runs anywhere: pip install actavatar-jax[tpu].")
    # libtpu looks for the TPU of a cloud machine; here is none, and nobody needs to read that.
    quiet = {"TPU_SKIP_MDS_QUERY": "1", "TPU_ACCELERATOR_TYPE": "v5p-8", "TPU_WORKER_HOSTNAMES": "localhost"}
    for name, value in quiet.items():
        os.environ.setdefault(name, value)
    several = {"num_slices": topology.slices} if topology.slices > 1 else {}
    # One device is that of a slice: libtpu knows no smaller one of most chips.
    name = f"{topology.chip.name}:{topology.chip.shapes[0]}" if topology.shape == ONE else topology.slice_name
    try:
        found = topologies.get_topology_desc(platform="tpu", topology_name=name, **several).devices
        return found[:1] if topology.shape == ONE else found
    except jax.errors.JaxRuntimeError as error:
        raise InputError(f"libtpu cannot plan for {topology}: {error}") from error


def _gpus(topology: Topology) -> list[Any]:
    if not any(importlib.util.find_spec(f"jax_cuda{version}_plugin") for version in (12, 13)):
        raise InputError(
            f"Planning for {topology} needs JAX's CUDA plugin, which compiles anywhere: "
            "pip install actavatar-jax[cuda]."
        )
    return topologies.get_topology_desc(
        platform="cuda",
        target_config=gpu_target(topology.chip.name),
        topology=f"{topology.slices}x1x{topology.shape}",  # NVLink domains x hosts of each x GPUs of each
    ).devices
