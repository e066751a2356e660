"""How arrays are cut over the mesh: ordered rules over parameter names, and what follows for states and batches.

Matrices are cut over `fsdp` and `seq` together, so that a longer `seq` axis costs no memory. Those of the blocks are
cut along their inputs: of a stack that is cut along its last dimension, XLA keeps a second copy to gather layers from.
Only the inputs of audio keys and values are too narrow for many devices; the other widths are multiples of 1024 at full
size. Vectors are small and whole.
"""

import logging
import math
from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.functional import Params
from actavatar_jax.parallel.layout import BATCH, SEQ
from actavatar_jax.parallel.ordered import ParameterGroups

CUT = ("fsdp", "seq")

Rules = ParameterGroups[tuple]  # the value: mesh axes of the leading dimensions

_TRANSFORMER = (  # blocks are stacked along dimension 0
    (r"blocks/(self_attn|cross_attn|audio_attn)/(query|key|value|out)/kernel", (None, CUT)),
    (r"blocks/audio_attn/key_value/kernel", (None, None, CUT)),
    (r"blocks/image_attn/(key|value)/kernel", (None, CUT)),
    (r"blocks/ffn/(up|down)/kernel", (None, CUT)),
    (r"(time_projection|head/out)/kernel", (CUT,)),
    (r"(time|text)_embedding/linear_2/kernel", (CUT,)),
    (r"(time|text)_embedding/linear_1/kernel", (None, CUT)),
    (r"(patch_embedding|frame_time|place)/kernel", (None, CUT)),
    (r"audio_projection/(first|rest|hidden)/kernel", (CUT,)),
    (r"audio_projection/tokens/kernel", (None, CUT)),
    (r"audio_projection/linear/kernel|image_projection/linear_(1|2)/kernel", (None, CUT)),
    (r".*/(bias|scale|modulation)|.*/lora_(a|b|scale)", ()),
    (r"phase_embedding/embedding|blocks/window_strength|latent_log_variance", ()),
)

_TEXT_ENCODER = (  # likewise
    (r"token_embedding/embedding", (None, CUT)),
    (r"layers/self_attn/(query|key|value)/kernel", (None, CUT)),
    (r"layers/ffn/(gate|up)/kernel", (None, CUT)),
    (r"layers/(self_attn/out|ffn/down)/kernel", (None, None, CUT)),
    (r".*/scale|layers/self_attn/position_bias/embedding", ()),
)

_AVATARSYNC = (  # its keyframe transformer; tokenizers and the interpolator are small
    (r"blocks/(query_key_value|out|gate|up|down)/kernel", (None, CUT)),
    (r"head/kernel", (CUT,)),
    (r"tokens", (None, CUT)),
    (r".*", ()),
)

RULES = Rules(_TRANSFORMER)  # of ActAvatarDiT and EchoMimicDiT
TEXT_ENCODER_RULES = Rules(_TEXT_ENCODER)  # of UMT5Encoder
AVATARSYNC_RULES = Rules(_AVATARSYNC)
WHOLE = Rules(((r".*", ()),))  # of the small networks

log = logging.getLogger(__name__)


def param_shardings(abstract_params: Mapping, mesh: Mesh | AbstractMesh, rules: Rules = RULES) -> Params:
    """The sharding of every parameter, as a dict nested like `abstract_params`, of which only shapes are read.

    A dimension that its devices do not divide stays whole, and a log line names it. Raises InputError for parameters
    that no rule covers.
    """
    flat = functional.flatten(abstract_params)
    if missing := rules.uncovered(flat):
        raise InputError(f"No rule says how to cut {', '.join(missing)} over a mesh.")
    axes = rules.values(flat)
    return functional.unflatten({name: _sharding(name, leaf.shape, axes[name], mesh) for name, leaf in flat.items()})


def state_shardings(abstract_state: Any, mesh: Mesh | AbstractMesh, rules: Rules = RULES) -> Any:
    """The sharding of every leaf of a training state, as a tree like it.

    A leaf belongs to the parameter whose name ends its path: parameters, averages and an optimizer's moments are cut
    alike. What belongs to none (steps, counts) is whole on every device.
    """
    paths, tree = jax.tree_util.tree_flatten_with_path(abstract_state)
    whole = NamedSharding(mesh, PartitionSpec())
    by_name: dict[str, NamedSharding] = {}
    shardings = []
    for path, leaf in paths:
        name = _parameter_name(path)
        if name and name not in by_name:
            by_name |= functional.flatten(param_shardings(functional.unflatten({name: leaf}), mesh, rules))
        shardings.append(by_name[name] if name else whole)
    return jax.tree_util.tree_unflatten(tree, shardings)


def batch_shardings(mesh: Mesh | AbstractMesh, batch: Mapping[str, Any]) -> dict[str, NamedSharding]:
    """The sharding of every entry of a training batch: samples over data and fsdp, latent frames over seq."""
    axes = {name: (BATCH, SEQ) if name in ("latents", "rejected", "regions", "known") else (BATCH,) for name in batch}
    return {name: NamedSharding(mesh, PartitionSpec(*axes[name])) for name in batch}


def _sharding(name: str, shape: tuple[int, ...], axes: tuple, mesh: Mesh | AbstractMesh) -> NamedSharding:
    entries = []
    for size, names in zip(shape, axes, strict=False):
        devices = math.prod(mesh.shape[axis] for axis in names or ())
        if size % devices:
            log.info("%s %s is whole on every device: %d do not divide %d.", name, list(shape), devices, size)
        entries.append(None if size % devices else names)
    return NamedSharding(mesh, PartitionSpec(*entries))


def _parameter_name(path: tuple) -> str:
    """The dict keys that end a path into a tree, joined by '/': empty for what lies in no dict."""
    keys = []
    for entry in reversed(path):
        if not isinstance(entry, jax.tree_util.DictKey):
            break
        keys.append(str(entry.key))
    return "/".join(reversed(keys))
