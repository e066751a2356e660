"""The names that tensors of LoRA files have, and which tensor of the transformer each of them changes.

Diffusers: `transformer.blocks.0.attn1.to_q.lora_A.weight`; PEFT: `base_model.model.` before that or in its place;
ComfyUI: `diffusion_model.blocks.0.self_attn.q.lora_down.weight`, layers as the original release has them; kohya's
trainers: `lora_unet_blocks_0_self_attn_q.lora_down.weight`, that of Wan-Fun with `lora_unet__`. Beside pairs of
matrices, with or without an `alpha`, some files have whole differences of weights (`.diff`) and of biases (`.diff_b`).
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from actavatar_jax.errors import InputError
from actavatar_jax.storage import first_of, named
from actavatar_jax.weights.names import LINEAR, Entry, Table, TensorSource

_KOHYA = ("lora_unet_", "lora_unet__")
_BEFORE = re.compile(r"(base_model\.model\.)?(transformer\.|(model\.)?diffusion_model\.)?")
# What ends a name -> what its tensor is, and of which tensor of the model.
_ENDS = (
    (re.compile(r"\.(lora_A(\.default)?|lora_down|lora\.down)\.weight$"), "down", "weight"),
    (re.compile(r"\.(lora_B(\.default)?|lora_up|lora\.up)\.weight$"), "up", "weight"),
    (re.compile(r"\.alpha$"), "alpha", "weight"),
    (re.compile(r"\.diff$"), "difference", "weight"),
    (re.compile(r"\.diff_b$"), "difference", "bias"),
)


def group(path: Path, tensors: TensorSource, places: Mapping[str, Entry]) -> dict[Entry, dict[str, str]]:
    """The tensors of a file by what they change: {tensor of the model: {part: name in the file}}."""
    foreign, wholes = [], []
    groups: dict[Entry, dict[str, str]] = {}
    for name in tensors.names():
        part, entry = _place(name, places)
        if entry is None or (part in ("down", "up", "alpha") and entry.transform is not LINEAR):
            foreign.append(name)
        else:
            groups.setdefault(entry, {})[part] = name
            wholes += [name] if tensors.dtype(name).kind in "iub" and part != "alpha" else []
    refuse(path, foreign, "not of this transformer")
    refuse(path, wholes, "of whole numbers")
    halves = [min(p.values()) for p in groups.values() if ("down" in p) != ("up" in p) or p.keys() == {"alpha"}]
    refuse(path, halves, "without the other matrix of their pair")
    if not groups:
        raise InputError(f"{named(path)} is no LoRA: it holds no tensors.")
    return groups


def find_places(tables: Sequence[Table]) -> dict[str, Entry]:
    """A transformer's weights and biases by each of their spellings."""
    places = {}
    for entry in itertools.chain(*tables):
        layer, _, last = entry.theirs.rpartition(".")
        if last in ("weight", "bias"):
            flat = f"{layer.replace('.', '_')}.{last}"
            places |= dict.fromkeys((entry.theirs, *(before + flat for before in _KOHYA)), entry)
    return places


def _place(name: str, places: Mapping[str, Entry]) -> tuple[str, Entry | None]:
    """(part, tensor of the model) of a name in a file; None where it is of no such tensor."""
    name = name[_BEFORE.match(name).end() :]
    for end, part, last in _ENDS:
        if found := end.search(name):
            return part, places.get(f"{name[: found.start()]}.{last}")
    return "", None


def refuse(path: Path, names: Sequence[str], what: str) -> None:
    """InputError where a file has tensors that are `what`."""
    if names:
        raise InputError(f"The LoRA {named(path)} does not fit: it has tensors {what}, {first_of(sorted(names))}.")
