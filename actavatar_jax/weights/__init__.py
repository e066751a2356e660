"""Parameters on disk and in memory: model folders and their parts, where they wait, adapters."""

from actavatar_jax.weights.adapter import TRAINED, never_trained, read_adapter, remark_on_backbone, write_adapter
from actavatar_jax.weights.components import COMPONENTS, Stored, find, find_tokenizer, is_wan_layout, kind_of
from actavatar_jax.weights.convert import from_torch, to_torch
from actavatar_jax.weights.copying import check_copy, check_new, check_space, copy_folder
from actavatar_jax.weights.folder import (
    Component,
    Defaults,
    change_defaults,
    load,
    load_defaults,
    save,
)
from actavatar_jax.weights.initial import draw_leaves
from actavatar_jax.weights.loading import check_loading
from actavatar_jax.weights.names import their_shape
from actavatar_jax.weights.parts import check_parts
from actavatar_jax.weights.reader import Safetensors
from actavatar_jax.weights.reading import optional_leaves
from actavatar_jax.weights.residence import (
    DEVICE,
    HOST,
    choose_residences,
    device_memory,
    leaving,
    parse_size,
    part_sizes,
    size_of,
    stored_bytes,
)
from actavatar_jax.weights.shapes import param_shapes
from actavatar_jax.weights.writer import Exported, write_sharded

__all__ = [
    "COMPONENTS",
    "DEVICE",
    "HOST",
    "TRAINED",
    "Component",
    "Defaults",
    "Exported",
    "Safetensors",
    "Stored",
    "change_defaults",
    "check_copy",
    "check_loading",
    "check_new",
    "check_parts",
    "check_space",
    "choose_residences",
    "copy_folder",
    "device_memory",
    "draw_leaves",
    "find",
    "find_tokenizer",
    "from_torch",
    "is_wan_layout",
    "kind_of",
    "leaving",
    "load",
    "load_defaults",
    "never_trained",
    "optional_leaves",
    "param_shapes",
    "parse_size",
    "part_sizes",
    "read_adapter",
    "remark_on_backbone",
    "save",
    "size_of",
    "stored_bytes",
    "their_shape",
    "to_torch",
    "write_adapter",
    "write_sharded",
]
