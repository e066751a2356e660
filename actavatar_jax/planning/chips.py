"""Accelerators: what one device of a kind has.

Sources: Google Cloud's pages of each TPU (ICI in both directions and data-centre network per chip), NVIDIA's data
sheets (NVLink in one direction, and network adapter per GPU of a DGX node). Memory of a TPU is what libtpu lets a
program use, as its compiler says when a program is too large; of a GPU, what XLA's description of it says
(`gpu_targets`, from openxla/xla, xla/backends/gpu/target_config/specs).
"""

import re
from dataclasses import dataclass
from pathlib import Path

from actavatar_jax.models.flops import PEAKS

GPU_TARGETS = Path(__file__).with_name("gpu_targets")
GPU_SHARE = 0.92  # of a GPU's memory for programs: the driver's context, NCCL and cuDNN need the rest
GIB = 2**30


@dataclass(frozen=True)
class Chip:
    """One device: a chip, except that a tpu7x chip is two devices, of which each has half."""

    name: str
    platform: str  # as XLA has it: tpu | cuda
    peak: float  # bf16 FLOP/s
    memory: int  # bytes for a program
    link: float  # bytes/s that a device sends to its neighbours on one axis of the torus, or through NVLink
    network: float  # bytes/s that a device sends to another slice or node
    shapes: tuple[str, ...] = ()  # of slices smaller than a cube, or of all slices of a flat torus
    cubes: bool = False  # slices may also be made of 4x4x4 cubes


_FLAT = ("2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_SOLID = ("2x2x1", "2x2x2", "2x2x4", "2x4x4")


def _tpu(name: str, gib: float, ici: float, network: float, shapes: tuple[str, ...]) -> Chip:
    """`ici` is a device's share of all links of its chip, in both directions: two links for each axis of the torus."""
    axes = shapes[0].count("x") + 1
    return Chip(name, "tpu", PEAKS[name], int(gib * GIB), ici / (2 * axes), network, shapes, cubes=axes == 3)


def _gpu(name: str, link: float, network: float) -> Chip:
    memory = re.search(r"device_memory_size: (\d+)", gpu_target(name)).group(1)
    return Chip(name, "cuda", PEAKS[name], int(GPU_SHARE * int(memory)), link, network)


def gpu_target(name: str) -> str:
    """XLA's description of a GPU, as text."""
    return (GPU_TARGETS / f"{name}.txtpb").read_text()


CHIPS = {
    chip.name: chip
    for chip in (
        _tpu("v5e", 15.75, 400e9, 25e9 / 8, _FLAT),
        _tpu("v6e", 31.25, 800e9, 100e9 / 8, _FLAT),
        _tpu("v5p", 95.74, 1200e9, 50e9 / 8, _SOLID),
        _tpu("tpu7x", 94.75, 1200e9 / 2, 100e9 / 8 / 2, _SOLID),
        _gpu("a100", 300e9, 200e9 / 8),
        _gpu("h100", 450e9, 400e9 / 8),
        _gpu("h200", 450e9, 400e9 / 8),
        _gpu("b200", 900e9, 400e9 / 8),
    )
}
