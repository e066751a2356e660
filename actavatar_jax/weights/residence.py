"""Where the parameters of a part are between its uses, so that a system fits into the memory that is there.

The parts work one after the other: umT5 (10.6 GiB in bfloat16) is done before the transformer (10.8 GiB) begins.
"""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import psutil

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.weights import quantized
from actavatar_jax.weights.components import Kind, find

log = logging.getLogger(__name__)

DEVICE, HOST, ON_DEMAND = "device", "host", "on demand"
WEIGHTS_SHARE = 0.6  # of a device's memory for weights; the rest is for what is computed
# The order in which parts leave the device where memory is short: the one first that is used once in a video.
LEAVING = ("text_encoder", "vae", "audio_encoder", "transformer")
UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


def choose_residences(sizes: Mapping[str, int], memory: str = "auto") -> dict[str, str]:
    """Where each part waits: on the device if all do, else the first of `LEAVING` elsewhere, until the others fit.

    Elsewhere is the host's memory if that holds all of them, and else their files, which are read at every use.

    Args:
      sizes: bytes of each part's parameters, by component.
      memory: of one device: `auto` (what it says itself), or such as `24GB`.

    Raises InputError for a size that cannot be read.
    """
    room = WEIGHTS_SHARE * (device_memory() if memory == "auto" else parse_size(memory))
    staying, away = dict(sizes), {}
    for name in LEAVING:
        if sum(staying.values()) <= room:
            break
        away[name] = staying.pop(name)
    on_host = jax.default_backend() != "cpu" and sum(away.values()) <= WEIGHTS_SHARE * host_memory()
    chosen = dict.fromkeys(staying, DEVICE) | dict.fromkeys(away, HOST if on_host else ON_DEMAND)
    if away:
        log.info("Parts that wait elsewhere than on the device: %s", ", ".join(f"{n} ({chosen[n]})" for n in away))
    return chosen


def part_sizes(
    folder: str | Path, dtype: str, audio_encoder: str | Path | None = None, quantize: str | None = None
) -> dict[str, int]:
    """Bytes that the parameters of each part take as `ActAvatarPipeline.from_pretrained` reads them; none is read."""
    ways = {
        "transformer": (folder, dtype, quantize),
        "text_encoder": (folder, dtype, quantize),
        "audio_encoder": (audio_encoder or folder, "float32", None),
        "vae": (folder, "float32", None),
    }
    stored = {name: find(Path(place), name) for name, (place, *_) in ways.items()}
    return {name: size_of(stored[name].kind, stored[name].config, *way) for name, (_, *way) in ways.items()}


def size_of(kind: Kind, config: Any, dtype: str, quantize: str | None = None) -> int:
    """Bytes of a network's parameters, read as `dtype` and quantized."""
    flat = functional.flatten(functional.abstract(kind.module, config))
    forms = quantized.forms_of(kind, quantize).values(flat) if quantize else {}
    return sum(
        leaf.size * (1 if forms.get(name) else 4 if re.fullmatch(kind.float32, name) else np.dtype(dtype).itemsize)
        for name, leaf in flat.items()
    )


def device_memory() -> int:
    """Bytes of the first device that a program may use; of a CPU those of the machine that are free."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return stats.get("bytes_limit") or host_memory()


def host_memory() -> int:
    """Bytes of this machine's memory that are free, or become free when somebody asks."""
    return psutil.virtual_memory().available


def parse_size(text: str) -> int:
    """Bytes of `24GB`, `80 GiB`, ...; InputError for other texts."""
    found = re.fullmatch(r"([\d.]+)\s*([KMGT]i?B)", text.strip(), re.IGNORECASE)
    try:
        size = float(found[1]) * UNITS[found[2].upper()]
    except (KeyError, TypeError, ValueError):
        size = 0
    if size <= 0:
        raise InputError(f"The memory is {text!r}; accepted is auto, or a size such as 24GB.")
    return int(size)
