"""Where the parameters of a part are between its uses, so that a system fits into the memory that is there.

The parts work one after the other: umT5 (10.6 GiB in bfloat16) is done before the transformer (10.8 GiB) begins.
"""

import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import psutil

from actavatar_jax.errors import InputError
from actavatar_jax.storage import shown
from actavatar_jax.weights.components import Loadable, find
from actavatar_jax.weights.shapes import count_bytes, param_shapes
from actavatar_jax.weights.writer import nbytes

log = logging.getLogger(__name__)

Place = Callable[[Any], Any]  # a leaf where it was read to -> the same where it goes
DEVICE, HOST, ON_DEMAND = "device", "host", "on demand"
WEIGHTS_SHARE = 0.6  # of memory for weights, where nobody knows how much computing takes
# The order in which parts leave the device where memory is short: the one first that is used once in a video.
LEAVING = ("text_encoder", "image_encoder", "vae", "audio_encoder", "transformer")
UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


def choose_residences(
    sizes: Mapping[str, int], memory: str = "auto", working: Mapping[str, int] | None = None
) -> dict[str, str]:
    """Where each part waits: on the device, or elsewhere if it is one of those that are `leaving`.

    Elsewhere is the host's memory if that holds all of them, and else their files, which are read at every use.

    Args:
      sizes: bytes of each part's parameters, by component.
      memory: of one device: `auto` (what it says itself), or such as `24GB`.
      working: as `leaving` takes it.

    Raises InputError for a size that cannot be read.
    """
    away = leaving(sizes, device_memory() if memory == "auto" else parse_size(memory), working)
    on_host = jax.default_backend() != "cpu" and sum(sizes[n] for n in away) <= WEIGHTS_SHARE * host_memory()
    chosen = dict.fromkeys(sizes, DEVICE) | dict.fromkeys(away, HOST if on_host else ON_DEMAND)
    if away:
        log.info("Parts that wait elsewhere than on the device: %s", ", ".join(f"{n} ({chosen[n]})" for n in away))
    return chosen


def leaving(sizes: Mapping[str, int], memory: int, working: Mapping[str, int] | None = None) -> list[str]:
    """The first parts of `LEAVING`, as many as it takes for the others to stay in the memory of the device.

    `working` are the bytes that a part's programs take besides all weights: every part then has room for itself and for
    them. Where it is not known, weights that stay may have `WEIGHTS_SHARE`.
    """

    def fits(staying: Mapping[str, int]) -> bool:
        if working is None:
            return sum(staying.values()) <= WEIGHTS_SHARE * memory
        return all(sum((staying | {part: sizes[part]}).values()) + working[part] <= memory for part in sizes)

    staying, away = dict(sizes), []
    for name in filter(sizes.__contains__, LEAVING):
        if fits(staying):
            break
        staying.pop(name)
        away.append(name)
    return away


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


def size_of(kind: Loadable, config: Any, dtype: str, quantize: str | None = None) -> int:
    """Bytes of a network's parameters, read as `dtype` and quantized."""
    return count_bytes(param_shapes(kind, config, dtype, quantize))


def stored_bytes(folder: str | Path, component: str, dtype: str | None = None) -> int:
    """Bytes of a component's tensors in its files, or as they would be in `dtype`; none is read."""
    part = find(Path(folder), component)
    if dtype is not None:
        return size_of(part.kind, part.config, dtype)
    return sum(nbytes(part.files, name) for name in part.files.names())


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
        raise InputError(f"The memory is {shown(text)}; accepted is auto, or a size such as 24GB.")
    return int(size)


def as_read(leaf: Any) -> Any:
    """A leaf stays where it was read to."""
    return leaf


def to_device() -> Place:
    """Leaves go up to the device, each while the next one is read; the host holds no more than these two."""
    last = None

    def place(leaf: Any) -> Any:
        nonlocal last
        jax.block_until_ready(last)
        last = jax.device_put(leaf)
        return last

    return place
