"""LoRA of the transformer: files of any common spelling read and added to weights, and trained ones written."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file

from actavatar_jax import functional
from actavatar_jax.checks import typed
from actavatar_jax.errors import InputError
from actavatar_jax.functional import Params
from actavatar_jax.functional.kernels import LOW_RANK
from actavatar_jax.models.avatar import DiTConfig
from actavatar_jax.storage import named, parse_json, read_json, replaced_file
from actavatar_jax.weights.files import is_file
from actavatar_jax.weights.lora_names import find_places, group, refuse
from actavatar_jax.weights.names import IDENTITY, Entry, Table, export_leaf, their_shape
from actavatar_jax.weights.reader import Safetensors
from actavatar_jax.weights.tables import dit


@dataclasses.dataclass(frozen=True, eq=False)
class Addition:
    """What is added to a leaf, or to one layer of it: `a @ b`, or a difference of the layer's own shape. float32."""

    layer: int | None
    a: np.ndarray | None = None  # [in, rank]
    b: np.ndarray | None = None  # [rank, out], times the LoRA's scale
    difference: np.ndarray | None = None


Additions = Mapping[str, Sequence[Addition]]  # by the '/' names of leaves


def read(sources: Sequence[str | Path], abstract: Params, tables: Sequence[Table]) -> Additions:
    """What files add to a transformer.

    Args:
      sources: `FILE`, or `FILE:strength` for another strength than 1.
      abstract: nested dict of the transformer's shapes.
      tables: the names that its tensors have.

    Raises:
      InputError: a file is missing or broken, or its names or shapes are not this transformer's.
    """
    shapes, places = functional.flatten(abstract), find_places(tables)
    additions: dict[str, list[Addition]] = {}
    for source in sources:
        path, strength = parse(str(source))
        tensors = Safetensors(path)
        groups, alpha, misfits = group(path, tensors, places), _alpha(path, tensors.notes), []
        for entry, parts in groups.items():
            own = {part: tensors.read(name).astype(np.float32) for part, name in parts.items()}
            if not _fits(own, their_shape(entry, shapes[entry.ours].shape)):
                misfits.append(min(parts.values()))
                continue
            found = additions.setdefault(entry.ours, [])
            if "down" in own:
                rank = len(own["down"])
                scale = (own["alpha"].item() if "alpha" in own else alpha or rank) / rank
                found.append(Addition(entry.layer, own["down"].T, strength * scale * own["up"].T))
            if "difference" in own:
                found.append(Addition(entry.layer, difference=strength * entry.transform.to_ours(own["difference"])))
        refuse(path, misfits, "of other shapes than this transformer's")
    return additions


def parse(source: str) -> tuple[Path, float]:
    """(path, strength) of `FILE` or `FILE:strength`."""
    path, _, strength = source.rpartition(":")
    try:
        return (Path(path), float(strength)) if path and math.isfinite(float(strength)) else (Path(source), 1.0)
    except ValueError:  # a colon of the file's own name
        return Path(source), 1.0


def _fits(own: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> bool:
    """Whether what a file has for a tensor of the model has the shapes for it."""
    shapes = {part: value.shape for part, value in own.items()}
    if shapes.get("difference", shape) != shape or shapes.get("alpha", ()) not in ((), (1,)):
        return False
    if "down" not in own:
        return True
    down, up = shapes["down"], shapes["up"]
    return len(down) == len(up) == 2 and (up[0], down[1]) == shape and up[1] == down[0] > 0


def _alpha(path: Path, notes: Mapping[str, str]) -> float | None:
    """The alpha that a file without such tensors has: of its header (diffusers) or of the file beside it (PEFT).

    None: as large as the rank, which is what these two then take.
    """
    settings = parse_json(notes.get("lora_adapter_metadata", "{}"), f"The header of {path}")
    settings = {key.removeprefix("transformer."): value for key, value in settings.items()}
    if not settings and is_file(path.parent / "adapter_config.json"):
        settings = read_json(path.parent / "adapter_config.json")
    other = [key for key in ("use_rslora", "use_dora", "alpha_pattern") if settings.get(key)]
    if other:
        raise InputError(f"The LoRA {named(path)} has {', '.join(other)}; accepted is plain LoRA with one alpha.")
    return typed(f"lora_alpha of {named(path)}", settings.get("lora_alpha"), float | None)


def add(leaf: Any, additions: Sequence[Addition]) -> Any:
    """A leaf with what files add to it, in its dtype. What is added to becomes, or stays, a device array cut as it was;
    its memory is reused."""
    for addition in additions:
        index = () if addition.layer is None else (addition.layer,)
        leaf = _add(getattr(leaf, "sharding", None))(leaf, index, addition.a, addition.b, addition.difference)
    return leaf


@functools.cache
def _add(sharding: jax.sharding.Sharding | None) -> Any:
    def add(leaf, index, a, b, difference):
        if difference is None:
            difference = jnp.matmul(a, b, precision="highest")
        return leaf.at[index].set((leaf[index].astype(jnp.float32) + difference).astype(leaf.dtype))

    return jax.jit(add, donate_argnums=0, out_shardings=sharding)


def write(path: Path, params: Params, config: DiTConfig) -> None:
    """Writes the low-rank leaves of parameters, in the dtype that they have.

    Their scale goes into `lora_B`: diffusers passes over `.alpha` beside its own names, and without alpha every reader
    takes a scale of 1. Over several processes each of them calls this, and the first one writes.
    """
    flat, tensors = functional.flatten(params), {}
    for entry in dit.diffusers(config):
        layer, _, last = entry.ours.rpartition("/")
        if last != "kernel" or f"{layer}/{LOW_RANK[0]}" not in flat:
            continue
        a, b, scale = (_leaf(entry, flat[f"{layer}/{name}"]) for name in LOW_RANK)
        name = f"transformer.{entry.theirs.removesuffix('.weight')}"
        tensors |= {f"{name}.lora_A.weight": a.T, f"{name}.lora_B.weight": (scale * b).T}
    if jax.process_index() == 0:
        with replaced_file(path) as partial:
            save_file({name: np.ascontiguousarray(x) for name, x in tensors.items()}, partial, {"format": "pt"})


def _leaf(entry: Entry, leaf: Any) -> np.ndarray:
    """The part of a leaf that belongs to the layer of `entry`, on the host."""
    return export_leaf(dataclasses.replace(entry, transform=IDENTITY), leaf)
