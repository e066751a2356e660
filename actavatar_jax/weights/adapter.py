"""The audio adapter alone, as stage 1 delivers it: one safetensors file of 0.8 billion parameters instead of a system.

Tensors have the names that they have in a model folder's `transformer/`. The header's `actavatar` says what they belong
to: sizes, the adapter's config, a mark of the backbone that it was trained on, and what the run adds (base, step, ...).
"""

import dataclasses
import hashlib
import json
import logging
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.models import ADAPTER
from actavatar_jax.models.avatar import ActAvatarDiT, DiTConfig
from actavatar_jax.storage import named, parse_json, plain, shown
from actavatar_jax.weights import arrays, names
from actavatar_jax.weights.components import Stored
from actavatar_jax.weights.reader import Safetensors
from actavatar_jax.weights.tables import dit
from actavatar_jax.weights.writer import Exported, in_file_order, read_along, write_file

log = logging.getLogger(__name__)

MARKED = ("patch_embedding/bias", "head/modulation")  # leaves that are small, and stay as they are in stage 1
TRAINED = "blocks/audio_attn/out/kernel"  # zero in an adapter that never was


def write_adapter(path: Path, params: functional.Params, config: DiTConfig, **about: Any) -> None:
    """Writes the adapter that is in the parameters of a transformer, in the dtype that it has.

    Over several processes each of them calls this, and the first one writes. `about` is kept in the header.
    """
    adapter, _ = functional.split(functional.flatten(params), ADAPTER)
    tensors = Exported(_table(config), functional.unflatten(adapter))
    notes = {**_sizes(config), "backbone": mark_backbone(params), **about}
    if jax.process_index() > 0:
        read_along(tensors, max_shard_bytes=sys.maxsize)
        return
    write_file(path, in_file_order(tensors.names(), tensors), tensors, metadata={"actavatar": json.dumps(notes)})


def read_about(path: Path) -> dict[str, Any]:
    """What the header says; InputError for a file that is no adapter."""
    return _about(path, Safetensors(path))


def _about(path: Path, file: Safetensors) -> dict[str, Any]:
    if "actavatar" not in file.notes:
        raise InputError(f"{named(path)} is no audio adapter: its header lacks what stage 1 writes there.")
    return parse_json(file.notes["actavatar"], f"The header of {path}")


def read_adapter(
    path: Path,
    config: DiTConfig,
    *,
    dtype: Any = None,
    float32: str = names.NOTHING,
    shardings: functional.Params | None = None,
    only: Collection[str] | None = None,
) -> dict[str, Any]:
    """The adapter's leaves by name, for a transformer of `config`; other arguments as in `names.import_params`.

    Raises InputError for a file that is none or that does not fit the transformer.
    """
    file = Safetensors(path)
    about, sizes = _about(path, file), _sizes(config)
    if wrong := [name for name, size in sizes.items() if about.get(name) != size]:
        name = wrong[0]
        raise InputError(
            f"The adapter {named(path)} does not fit the model: its {name} is {shown(about.get(name))} there and "
            f"{shown(sizes[name])} here."
        )
    abstract, _ = functional.split(functional.flatten(functional.abstract(ActAvatarDiT, config)), ADAPTER)
    params = names.import_params(
        _table(config),
        functional.unflatten(abstract),
        file,
        dtype=dtype,
        float32=float32,
        shardings=shardings,
        only=only,
        model=f"the adapter {named(path)}",
    )
    return functional.flatten(params)


def never_trained(leaves: Mapping[str, Any]) -> bool:
    """Whether there is an adapter among parameters by name, and it is still the identity that it starts as.

    Of parameters that are spread over processes each looks at its own part, and none waits for another.
    """
    leaf = leaves.get(TRAINED)
    if leaf is None:
        return False
    parts = [shard.data for shard in leaf.addressable_shards] if isinstance(leaf, jax.Array) else [leaf]
    return not any(bool(jnp.any(part)) for part in parts)


def mark_backbone(params: functional.Params) -> str:
    """SHA-256 of two small leaves, rounded to bfloat16: another backbone has others.

    Of parameters that are spread over processes all of them have to call this.
    """
    flat, digest = functional.flatten(params), hashlib.sha256()
    for name in MARKED:
        digest.update(arrays.rows(flat[name], 0, flat[name].shape[0]).astype(jnp.bfloat16).tobytes())
    return digest.hexdigest()


def remark_on_backbone(path: Path, stored: Stored, folder: str | Path) -> None:
    """A warning where the adapter was trained on another backbone than the one that is stored in `folder`."""
    abstract = functional.abstract(stored.kind.module, stored.config)
    marked = names.import_params(stored.table, abstract, stored.tensors, only=MARKED, may_miss=stored.kind.may_miss)
    if read_about(path).get("backbone") != mark_backbone(marked):
        log.warning("The adapter %s was trained on another backbone than that of %s.", path, folder)


def _sizes(config: DiTConfig) -> dict[str, Any]:
    """What has to agree, as JSON has it."""
    return plain({"layers": config.layers, "width": config.width, "audio": dataclasses.asdict(config.audio)})


def _table(config: DiTConfig) -> names.Table:
    table = dit.diffusers(config)
    kept, _ = functional.split({entry.ours: None for entry in table}, ADAPTER)
    return tuple(entry for entry in table if entry.ours in kept)
