"""The model folder of AvatarSync: three networks, the units that they know, and how to sample, in one place.

model_index.json   classes of the parts, and the sampling that the model was made for
tokenizer/  keyframes/  interpolator/   config.json and model.safetensors each
units.json         version and names of the units, in the order of their ids
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from actavatar_jax import functional
from actavatar_jax.avatarsync.interpolation import Interpolator, InterpolatorConfig
from actavatar_jax.avatarsync.keyframes import KeyframeConfig, KeyframeSampling, KeyframeTransformer
from actavatar_jax.avatarsync.tokenizer import LFQConfig, LFQTokenizer, SmallLFQConfig
from actavatar_jax.avatarsync.units import unit_table
from actavatar_jax.checks import typed
from actavatar_jax.errors import InputError
from actavatar_jax.functional import Network, Params
from actavatar_jax.storage import named, read_json, refusal, replaced_folder, shown, write_json
from actavatar_jax.weights import Exported, Safetensors, names, write_sharded
from actavatar_jax.weights.files import is_file

INDEX, CLASS, UNITS, STEM = "model_index.json", "AvatarSyncPipeline", "units.json", "model"
MODULES = {"tokenizer": LFQTokenizer, "keyframes": KeyframeTransformer, "interpolator": Interpolator}
CONFIGS = {
    "tokenizer": (SmallLFQConfig, LFQConfig),
    "keyframes": (KeyframeConfig,),
    "interpolator": (InterpolatorConfig,),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """A network with its parameters."""

    network: Network
    params: Params

    @property
    def config(self) -> Any:
        """Its sizes."""
        return self.network.config

    def on_device(self) -> "Part":
        """The same, with parameters where programs take them."""
        return dataclasses.replace(self, params=jax.device_put(self.params))


@dataclasses.dataclass(frozen=True, eq=False)
class Parts:
    """All that a folder holds."""

    tokenizer: Part
    keyframes: Part
    interpolator: Part
    sampling: KeyframeSampling
    world: dict | None = None  # what a model of puppets says about theirs, as it is

    def __post_init__(self):
        configs = {name: getattr(self, name).config for name in MODULES}
        if problems := list(disagreements(configs)):
            raise refusal("The parts of AvatarSync do not fit each other:", problems)


def save_parts(folder: str | Path, parts: Parts) -> None:
    """Writes a model folder, which takes the place of what has this name when all of it is there."""
    with replaced_folder(folder) as partial:
        for name in MODULES:
            save_part(partial, name, getattr(parts, name))
        write_json(partial / UNITS, {"version": unit_table().version, "names": list(unit_table().names)})
        index = {name: ["actavatar_jax", module.__name__] for name, module in MODULES.items()}
        said = {"sampling": dataclasses.asdict(parts.sampling), "world": parts.world}
        write_json(partial / INDEX, {"_class_name": CLASS, **index, **said})


def open_parts(folder: str | Path) -> Parts:
    """Reads what `save_parts` wrote, in float32 on the host.

    Raises:
      InputError: the folder is none of AvatarSync; a part is missing, damaged or unlike its config; parts do not fit
        each other, or the units are not those of this version of the library.
    """
    folder = Path(folder)
    if not is_file(folder / INDEX) or (index := read_json(folder / INDEX)).get("_class_name") != CLASS:
        raise InputError(f"{named(folder)} is no model folder of AvatarSync: it has no {INDEX} of {CLASS}.")
    _check_units(folder / UNITS)
    sampling = typed(f"sampling of {named(folder / INDEX)}", index.get("sampling", {}), dict)
    configs = {name: read_config(folder, name) for name in MODULES}
    if problems := list(disagreements(configs)):  # before large files are read
        raise refusal(f"The parts of {named(folder)} do not fit each other:", problems)
    parts = {name: open_part(folder, name) for name in MODULES}
    world = typed(f"world of {named(folder / INDEX)}", index.get("world"), dict | None)
    return Parts(**parts, sampling=_built(KeyframeSampling, sampling, folder / INDEX), world=world)


def save_part(folder: Path, name: str, part: Part) -> None:
    """Writes one of the networks as `folder/name`."""
    config = part.config
    names.check_shapes(part.params, functional.abstract(MODULES[name], config))
    with replaced_folder(folder / name) as partial:
        write_sharded(partial, STEM, Exported(_table(MODULES[name], config), part.params))
        write_json(partial / "config.json", {"_class_name": type(config).__name__, **dataclasses.asdict(config)})


def open_part(folder: Path, name: str) -> Part:
    """Reads what `save_part` wrote, in float32. Raises as `open_parts`."""
    config, module = read_config(folder, name), MODULES[name]
    index, single = folder / name / f"{STEM}.safetensors.index.json", folder / name / f"{STEM}.safetensors"
    tensors = Safetensors(index if is_file(index) else single)
    abstract = functional.abstract(module, config)
    about = {"dtype": np.dtype("float32"), "model": f"the {name} of {named(folder)}"}
    params = names.import_params(_table(module, config), abstract, tensors, **about)
    return Part(Network(module, config), params)


def read_config(folder: Path, name: str) -> Any:
    """The sizes of a part. Raises as `open_parts`."""
    path = folder / name / "config.json"
    values = typed(f"content of {named(path)}", read_json(path), dict)
    kinds = {kind.__name__: kind for kind in CONFIGS[name]}
    kind = kinds.get(values.pop("_class_name", None))
    if kind is None:
        raise InputError(f"{named(path)} has no _class_name of a {name}; accepted is {' or '.join(kinds)}.")
    return _built(kind, values, path)


def disagreements(configs: dict[str, Any]) -> Iterator[str]:
    """What the configs of the parts do not agree about, each in a few words."""
    tokenizer, keyframes, table = configs["tokenizer"], configs["keyframes"], unit_table()
    if keyframes.vocabulary != 2**tokenizer.bits:
        yield f"the keyframes are of {keyframes.vocabulary} codes and the tokenizer has {2**tokenizer.bits}"
    places = getattr(tokenizer, "tokens", keyframes.tokens)
    if places != keyframes.tokens:
        yield f"the keyframes are of {list(keyframes.tokens)} tokens and the tokenizer makes {list(places)}"
    if keyframes.level == "phonemes" and keyframes.units < len(table.names):
        yield f"the keyframes know {keyframes.units} units and there are {len(table.names)}"
    if keyframes.level == "words" and keyframes.units != table.size + table.words:  # by their number words are hashed
        yield f"the keyframes know {keyframes.units} units and with words there are {table.size + table.words}"


def _check_units(path: Path) -> None:
    stored, table = read_json(path), unit_table()
    # Ids are places in the list: units that were added behind it change none of those that a model knows.
    theirs = typed(f"names of {named(path)}", stored.get("names"), tuple[str, ...])
    if table.names[: len(theirs)] != theirs:
        raise InputError(
            f"{named(path)} has other units (version {shown(stored.get('version'))}) than this library (version "
            f"{table.version}); accepted is a model that was trained with these."
        )


def _built(kind: type, values: dict[str, Any], path: Path) -> Any:
    """A config of its fields, or a sentence that names the file."""
    known = {field.name for field in dataclasses.fields(kind)}
    if unknown := sorted(values.keys() - known):
        raise InputError(f"{named(path)} has an entry {shown(unknown[0])}; accepted is {', '.join(sorted(known))}.")
    return kind(**values)


def _table(module: type, config: Any) -> names.Table:
    """Tensors are stored under our own names."""
    flat = functional.flatten(functional.abstract(module, config))
    return tuple(names.Entry(name.replace("/", "."), name) for name in flat)
