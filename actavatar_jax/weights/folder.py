"""Model folders: released weights on disk, in the diffusers layout so that one folder serves both worlds.

Read: our own folders, a plain Wan2.2-TI2V-5B folder of diffusers, the original Wan release. Written: the first form.
"""

import dataclasses
import functools
import logging
import math
import re
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from actavatar_jax import functional
from actavatar_jax.diffusion.sampling import Sampling, check_length, typed
from actavatar_jax.errors import InputError
from actavatar_jax.media.clock import latent_frames
from actavatar_jax.storage.documents import read_json, write_json
from actavatar_jax.storage.writing import replaced_folder
from actavatar_jax.weights import arrays, names
from actavatar_jax.weights.components import COMPONENTS, WAN_EXTRA, Kind, find, is_wan_layout, kind_named, kind_of
from actavatar_jax.weights.writer import Exported, read_along, write_sharded

log = logging.getLogger(__name__)

# What the original release puts in the place of an absent negative prompt (wan/configs/shared_config.py).
WAN_NEGATIVE_PROMPT = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，"  # noqa: RUF001
    "JPEG压缩残留，丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，"  # noqa: RUF001
    "形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"  # noqa: RUF001
)


@dataclasses.dataclass(frozen=True, eq=False)
class Component:
    """One network of a model folder in memory: its class, config and parameters (host arrays, or device arrays)."""

    module: type
    config: Any
    params: functional.Params


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class Defaults:
    """What a model was made for, used where a caller does not say. InputError for values that cannot be."""

    num_frames: int = 125
    area: int = 704 * 1280  # pixels
    negative_prompt: str = WAN_NEGATIVE_PROMPT
    sampling: Sampling = dataclasses.field(default_factory=Sampling)
    sizes: tuple[tuple[int, int], ...] = ()  # (height, width) it was trained on; empty: not known
    lengths: tuple[int, ...] = ()  # in frames, of the clips it was trained on; empty: not known
    strangest_portrait: float | None = None  # by `Encoders.strangeness`; None: every portrait will do
    world: dict | None = None  # what a folder of puppets says about their world, as it is

    def __post_init__(self):
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, typed(f"value of {field.name}", getattr(self, field.name), field.type))
        check_length(self.num_frames)
        for length in self.lengths:
            latent_frames(length)
        if min([self.area, *(side for size in self.sizes for side in size)]) < 1:
            raise InputError(f"The area is {self.area} and the sizes are {self.sizes}; accepted is 1 pixel or more.")
        if self.strangest_portrait is not None and not 0 < self.strangest_portrait < math.inf:
            raise InputError(f"The strangest_portrait is {self.strangest_portrait}; accepted is a number above 0.")


def load(
    folder: str | Path,
    component: str,
    dtype: Any = None,
    shardings: functional.Params | Callable[[functional.Params], functional.Params] | None = None,
    **execution: Any,
) -> Component:
    """Reads one component of a model folder, leaf by leaf.

    Args:
      folder: diffusers layout (ours or a plain Wan2.2-TI2V-5B) or the original Wan release.
      component: transformer, vae, text_encoder or audio_encoder.
      dtype: of the parameters, and of the computation where the config has that setting; `None` keeps parameters as
        they are stored and the config's default.
      shardings: nested dict of `jax.sharding.Sharding`, or a function that makes it of the nested dict of shapes:
        parameters become device arrays laid out so, and each process reads no more than its devices hold. `None`:
        arrays on the host.
      **execution: settings of the config that are not stored with weights, such as `attention` and `remat`.

    Raises:
      InputError: the component is missing, its files are broken, or its tensors do not fit (all of them in one error).
    """
    stored = find(Path(folder), component)
    kind, table = stored.kind, stored.table
    if dtype is not None and any(field.name == "dtype" for field in dataclasses.fields(stored.config)):
        execution["dtype"] = np.dtype(dtype).name
    config = dataclasses.replace(stored.config, **execution)

    target = None if dtype is None else np.dtype(dtype)
    abstract = functional.abstract(kind.module, config)
    if callable(shardings):
        shardings = shardings(abstract)

    may_miss = optional_leaves(kind, table, stored.tensors)
    initial = None
    if may_miss != names.NOTHING:
        places = functional.flatten(shardings or {})
        initial = functional.unflatten(_initial_values(kind.module, stored.config, may_miss, target, places))
        added = {re.sub(r"^(blocks/\w+|\w+).*", r"\1", leaf) for leaf in functional.flatten(initial)}
        log.info("%s has no %s for its %s: initial values", folder, ", ".join(sorted(added)), component)
    params = names.import_params(
        table,
        abstract,
        stored.tensors,
        dtype=target,
        shardings=shardings,
        initial=initial,
        may_miss=may_miss,
        model=f"the {component} of {folder}",
    )
    return Component(kind.module, config, params)


def optional_leaves(kind: Kind, table: names.Table, tensors: names.TensorSource) -> str:
    """Regex of our leaves that may be absent: those of `kind.may_miss` if all are, none if some are there."""
    present = set(tensors.names())
    optional = [entry for entry in table if re.fullmatch(kind.may_miss, entry.ours)]
    return kind.may_miss if optional and not any(entry.theirs in present for entry in optional) else names.NOTHING


def _initial_values(
    module: type, config: Any, leaves: str, dtype: np.dtype | None, places: dict[str, jax.sharding.Sharding]
) -> dict[str, jax.Array]:
    """Initial values of the leaves that match a regex, in a flat dict.

    A large leaf is drawn alone: on the way to its value, float32 and random bits of every leaf of a program are there.
    """
    shapes, _ = functional.split(functional.flatten(functional.abstract(module, config)), leaves)
    drawn: dict[str, jax.Array] = {}
    for group in _groups({name: leaf.size * leaf.dtype.itemsize for name, leaf in shapes.items()}, arrays.HOST_BYTES):
        sharded = tuple(places[name] for name in group) if places else None
        drawn |= _drawing(module, config, group, dtype, sharded)(jax.random.key(0))
        jax.block_until_ready(drawn)  # programs that queue up would hold their memory side by side
    return drawn


def _groups(sizes: dict[str, int], limit: int) -> list[tuple[str, ...]]:
    """Names in groups of at most `limit` bytes, or of one name."""
    groups: list[tuple[str, ...]] = []
    filled = 0
    for name in sorted(sizes, key=lambda name: -sizes[name]):
        if not groups or filled + sizes[name] > limit:
            groups.append(())
            filled = 0
        groups[-1] += (name,)
        filled += sizes[name]
    return groups


@functools.cache
def _drawing(
    module: type,
    config: Any,
    leaves: tuple[str, ...],
    dtype: np.dtype | None,
    places: tuple[jax.sharding.Sharding, ...] | None,
) -> Callable[[jax.Array], dict[str, jax.Array]]:
    """key -> initial values of some leaves; the compiler drops the drawing of all others."""

    def draw(key: jax.Array) -> dict[str, jax.Array]:
        values = functional.flatten(functional.init(module, config, key))
        chosen = {name: values[name] for name in leaves}
        return functional.cast(chosen, dtype) if dtype else chosen

    shardings = dict(zip(leaves, places, strict=True)) if places else None
    return jax.jit(draw, out_shardings=shardings, compiler_options=functional.RUN_ONCE)


def save(folder: str | Path, component: str, config: Any, params: functional.Params, **limits: int) -> None:
    """Writes one component in the diffusers layout; replaces what was there once everything is written.

    Parameters that are spread over several processes: each process calls this, and the first one writes.

    Args:
      folder: the model folder; the component becomes its sub-folder.
      component: transformer, vae, text_encoder or audio_encoder.
      config: of the network; execution settings are not stored.
      params: host or device arrays, stored in the dtype they have.
      **limits: `max_shard_bytes` of `write_sharded`.
    """
    kind = kind_of(component, config)
    names.check_shapes(params, functional.abstract(kind.module, config))
    exported = Exported(kind.table(config), params)
    if jax.process_index() > 0:
        read_along(exported, **limits)
        return
    with replaced_folder(Path(folder) / component) as partial:
        write_sharded(partial, kind.stem, exported, **limits)
        write_json(partial / "config.json", kind.to_json(config))


def save_index(folder: str | Path, defaults: Defaults = Defaults()) -> None:
    """Writes `model_index.json` and `scheduler/`, with which diffusers' image-to-video pipeline opens the folder.

    Call it last: the index names the components that are there. `audio_encoder` and `actavatar` are ours.
    """
    folder = Path(folder)
    index: dict[str, Any] = {
        "_class_name": "WanImageToVideoPipeline",
        "boundary_ratio": None,
        "expand_timesteps": True,  # one timestep per latent frame: 0 on the portrait's
        "image_encoder": [None, None],
        "image_processor": [None, None],
        "scheduler": ["diffusers", SCHEDULER["_class_name"]],
        "tokenizer": ["transformers", _tokenizer_class(folder)],
        "transformer_2": [None, None],
    }
    for component in COMPONENTS:
        config = folder / component / "config.json"
        if config.is_file():
            kind = kind_named(component, read_json(config).get("_class_name"))
            index[component] = [kind.library, kind.class_name]
    index["actavatar"] = dataclasses.asdict(defaults)
    write_json(folder / "model_index.json", dict(sorted(index.items())))
    with replaced_folder(folder / "scheduler") as partial:
        write_json(partial / "scheduler_config.json", {**SCHEDULER, "flow_shift": defaults.sampling.shift})


SCHEDULER = {
    "_class_name": "UniPCMultistepScheduler",
    "final_sigmas_type": "zero",
    "lower_order_final": True,
    "num_train_timesteps": 1000,
    "predict_x0": True,
    "prediction_type": "flow_prediction",
    "solver_order": 2,
    "solver_type": "bh2",
    "timestep_spacing": "linspace",
    "use_flow_sigmas": True,
}


def load_defaults(folder: str | Path) -> Defaults:
    """What the folder says about the videos it was made for; Wan2.2-TI2V-5B's at 25 fps where it says nothing.

    Raises InputError for values that it cannot mean.
    """
    index = Path(folder) / "model_index.json"
    if index.is_file():
        stored = read_json(index).get("actavatar", {})
    elif is_wan_layout(Path(folder)):
        index = Path(folder) / "config.json"
        stored = read_json(index).get(WAN_EXTRA, {}).get("defaults", {})
    else:
        return Defaults()
    try:
        known = {field.name for field in dataclasses.fields(Defaults)}
        values = {key: value for key, value in typed("value of its defaults", stored, dict).items() if key in known}
        values["sampling"] = Sampling().changed(**typed("value of sampling", values.get("sampling", {}), dict))
        return Defaults(**values)
    except InputError as error:
        raise InputError(f"{index} cannot be used: {error}") from error


def _tokenizer_class(folder: Path) -> str:
    """The class that the tokenizer's folder names; umT5's where there is no such folder yet."""
    config = folder / "tokenizer" / "tokenizer_config.json"
    return (read_json(config) if config.is_file() else {}).get("tokenizer_class", "T5TokenizerFast")
