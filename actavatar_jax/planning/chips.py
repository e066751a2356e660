"""Accelerators: what one device of a kind has.

Sources: Google Cloud's pages of each TPU (bandwidth of its memory, ICI in both directions and data-centre network per
chip), NVIDIA's data sheets (NVLink in one direction, and network adapter per GPU of a DGX node). Memory of a TPU is
what libtpu lets a program use, as its compiler says when a program is too large; memory and bandwidth of a GPU are what
XLA's description of it says (`gpu_targets`, from openxla/xla, xla/backends/gpu/target_config/specs).
"""

import re
from dataclasses import dataclass
from pathlib import Path

from actavatar_jax.models import PEAKS, Execution

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
    bandwidth: float  # bytes/s that a device reads from its memory
    link: float  # bytes/s that a device sends to its neighbours on one axis of the torus, or through NVLink
    network: float  # bytes/s that a device sends to another slice or node
    shapes: tuple[str, ...] = ()  # of slices smaller than a cube, or of all slices of a flat torus
    cubes: bool = False  # slices may also be made of 4x4x4 cubes

    def peak_of(self, how: Execution) -> float:
        """FLOP/s of a network's products.

        Those of float32 numbers are TF32 on NVIDIA's cards, at half the rate of bf16,
        and on TPUs one pass of bf16, three at high precision or six at the highest.
        """
        if how.dtype != "float32":
            return self.peak
        return self.peak / (2 if self.platform == "cuda" else {"default": 1, "high": 3, "highest": 6}[how.precision])


_FLAT = ("2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_SOLID = ("2x2x1", "2x2x2", "2x2x4", "2x4x4")


def _tpu(name: str, gib: float, bandwidth: float, ici: float, network: float, shapes: tuple[str, ...]) -> Chip:
    """`ici` is a device's share of all links of its chip, in both directions: two links for each axis of the torus."""
    axes = shapes[0].count("x") + 1
    return Chip(name, "tpu", PEAKS[name], int(gib * GIB), bandwidth, ici / (2 * axes), network, shapes, cubes=axes == 3)


def _gpu(name: str, link: float, network: float) -> Chip:
    memory, bandwidth = (
        int(re.search(rf"{field}: (\d+)", gpu_target(name)).group(1))
        for field in ("device_memory_size", "memory_bandwidth")
    )
    return Chip(name, "cuda", PEAKS[name], int(GPU_SHARE * memory), float(bandwidth), link, network)


def gpu_target(name: str) -> str:
    """XLA's description of a GPU, as text."""
    return (GPU_TARGETS / f"{name}.txtpb").read_text()


CHIPS = {
    chip.name: chip
    for chip in (
        _tpu("v5e", 15.75, 819e9, 400e9, 25e9 / 8, _FLAT),
        _tpu("v6e", 31.25, 1638e9, 800e9, 100e9 / 8, _FLAT),
        _tpu("v5p", 95.74, 2765e9, 1200e9, 50e9 / 8, _SOLID),
        _tpu("tpu7x", 94.75, 7380e9 / 2, 1200e9 / 2, 100e9 / 8 / 2, _SOLID),
        _gpu("a100", 300e9, 200e9 / 8),
        _gpu("h100", 450e9, 400e9 / 8),
        _gpu("h200", 450e9, 400e9 / 8),
        _gpu("b200", 900e9, 400e9 / 8),
    )
}
