"""Model folders: released weights on disk, in the diffusers layout so that one folder serves both worlds.

Read: our own folders, a plain Wan2.2-TI2V-5B folder of diffusers, the original Wan release. Written: the first form.
"""

import contextlib
import dataclasses
import logging
import math
import typing
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from actavatar_jax import functional
from actavatar_jax.checks import check_fields, typed
from actavatar_jax.diffusion import Sampling, check_length
from actavatar_jax.errors import InputError
from actavatar_jax.functional.kernels import Quantized
from actavatar_jax.media.clock import latent_frames
from actavatar_jax.models import Execution
from actavatar_jax.storage import named, read_json, replaced_folder, write_json
from actavatar_jax.weights import lora, names, quantized
from actavatar_jax.weights.components import (
    COMPONENTS,
    WAN_EXTRA,
    find,
    is_wan_layout,
    kind_named,
    kind_of,
    told_of,
)
from actavatar_jax.weights.files import is_file
from actavatar_jax.weights.loading import checked_dtype
from actavatar_jax.weights.reading import PartReader
from actavatar_jax.weights.residence import DEVICE, HOST, ON_DEMAND, Place, as_read, to_device
from actavatar_jax.weights.tables import dit
from actavatar_jax.weights.writer import Exported, read_along, write_sharded

log = logging.getLogger(__name__)

# What the original release puts in the place of an absent negative prompt (wan/configs/shared_config.py).
WAN_NEGATIVE_PROMPT = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，"  # noqa: RUF001
    "JPEG压缩残留，丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，"  # noqa: RUF001
    "形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"  # noqa: RUF001
)


Reads = Callable[[Place], functional.Params]  # parameters from files, every leaf to its place before the next is read


@dataclasses.dataclass(frozen=True, eq=False)
class Component:
    """One network of a model folder in memory: its class, config and parameters (host arrays, or device arrays)."""

    module: type
    config: Any
    params: functional.Params | None  # None: they are in files only
    execution: Execution | None = None
    read: Reads | None = None  # where `params` is None

    @classmethod
    def of(cls, network: functional.Network, params: functional.Params) -> "Component":
        return cls(network.module, network.config, params, network.execution)

    @classmethod
    def waiting(cls, network: functional.Network, read: Reads, residence: str | None) -> "Component":
        """With the parameters that `read` gives, which wait at `residence`; None: where they were read to.

        On their way to the device the host holds two of them at most.
        """
        if residence == ON_DEMAND:
            return cls(network.module, network.config, None, network.execution, read)
        places = {DEVICE: to_device(), HOST: jax.device_get, None: as_read}
        return cls.of(network, read(places[residence]))

    @property
    def network(self) -> functional.Network:
        """All of it but the parameters."""
        return functional.Network(self.module, self.config, self.execution)

    def moved(self, residence: str) -> "Component":
        """The same, its parameters waiting on the `device` or in the memory of the `host`."""
        move = jax.device_put if residence == DEVICE else jax.device_get
        return dataclasses.replace(self, params=move(self.params))

    @contextlib.contextmanager
    def on_device(self) -> Iterator[functional.Params]:
        """The parameters where programs take them; those that wait elsewhere leave the device again."""
        waiting = self.read(to_device()) if self.params is None else self.params
        params = jax.tree.map(lambda leaf: leaf if isinstance(leaf, jax.Array) else jax.device_put(leaf), waiting)
        try:
            yield params
        finally:  # also where the visit failed: the next one needs the memory
            for guest, home in zip(jax.tree.leaves(params), jax.tree.leaves(waiting), strict=True):
                if self.params is None or isinstance(home, np.ndarray):
                    guest.delete()


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
    velocity_path: tuple[tuple[float, float], ...] = ()  # by `diffusion.skipping.VelocityPath`; empty: not measured
    strangest_portrait: float | None = None  # by `Encoders.strangeness`; None: every portrait will do
    world: dict | None = None  # what a folder of puppets says about their world, as it is

    def __post_init__(self):
        check_fields(self, "value of ")
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
    quantize: str | quantized.Forms | None = None,
    loras: Sequence[str | Path] = (),
    adapter: str | Path | None = None,
    residence: str | None = None,
    only: Collection[str] | None = None,
    seed: int = 0,
    **execution: Any,
) -> Component:
    """Reads one component of a model folder, leaf by leaf.

    Args:
      folder: diffusers layout (ours or a plain Wan2.2-TI2V-5B) or the original Wan release.
      component: transformer, vae, text_encoder or audio_encoder.
      dtype: of the parameters but for those that stay in float32 (`Kind.float32`), and of the computation; `None` keeps
        parameters as they are stored, and computes in float32.
      shardings: nested dict of `jax.sharding.Sharding`, or a function that makes it of the nested dict of shapes:
        parameters become device arrays laid out so, and each process reads no more than its devices hold. `None`:
        arrays on the host.
      quantize: int8 or fp8 for the large kernels of its layers, or rules of `weights.quantized`. Such leaves are on the
        device; of the others there, none but the one that is being quantized is ever of its whole size.
      loras: files for the transformer, as `weights.lora.read` takes them, added to its weights in this order.
      adapter: file of stage 1 whose audio adapter takes the place of the transformer's own.
      residence: where parameters wait between uses: `device`, `host`, or `on demand` (nothing is read before the first
        use, and it is read again for the next); `None`: where they were read to.
      only: names of the leaves that are read, and that `shardings` has; `None`: all.
      seed: of the initial values of an adapter that the folder has not.
      **execution: the other fields of `Execution`, such as `attention` and `remat`.

    Raises:
      InputError: the component is missing, its files are broken, or its tensors do not fit (all of them in one error).
    """
    target = checked_dtype(dtype)
    how = Execution(**execution) if target is None else Execution(**execution, dtype=target.name)
    if isinstance(quantize, str):
        quantized.check_form(quantize)
    stored = find(Path(folder), component)
    kind = stored.kind
    abstract = functional.abstract(kind.module, stored.config)
    if callable(shardings):
        shardings = shardings(abstract)
    forms = quantized.forms_of(kind, quantize)
    quantized.check_forms(abstract, forms)
    reader = PartReader(
        folder,
        component,
        stored,
        target,
        functional.flatten(shardings) if shardings else None,
        forms,
        lora.read(loras, abstract, (dit.diffusers(stored.config), dit.wan(stored.config))) if loras else {},
        Path(adapter) if adapter else None,
        set(functional.flatten(abstract) if only is None else only),
        seed,
    )
    if residence == ON_DEMAND:
        reader.check()
    network = functional.Network(kind.module, stored.config, how if kind.executes else None)
    return Component.waiting(network, reader.read, residence)


def save(folder: str | Path, component: str, config: Any, params: functional.Params, **limits: int) -> None:
    """Writes one component in the diffusers layout; replaces what was there once everything is written.

    Parameters that are spread over several processes: each process calls this, and the first one writes.

    Args:
      folder: the model folder; the component becomes its sub-folder.
      component: transformer, vae, text_encoder or audio_encoder.
      config: of the network.
      params: host or device arrays, stored in the dtype they have.
      **limits: `max_shard_bytes` of `write_sharded`.
    """
    kind = kind_of(component, config)
    if any(isinstance(leaf, Quantized) for leaf in functional.flatten(params).values()):
        raise InputError(f"The {component} is quantized, so that not all of it is left; load it without, to save it.")
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
    write_json(folder / "model_index.json", index_of(folder, defaults))
    with replaced_folder(folder / "scheduler") as partial:
        write_json(partial / "scheduler_config.json", {**SCHEDULER, "flow_shift": defaults.sampling.shift})


def index_of(folder: Path, defaults: Defaults) -> dict[str, Any]:
    """The content of `model_index.json`; InputError for a component whose config is not understood."""
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
        if is_file(config):
            kind = kind_named(component, read_json(config).get("_class_name"))
            index[component] = [kind.library, kind.class_name]
    index["actavatar"] = dataclasses.asdict(defaults)
    return dict(sorted(index.items()))


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
    if is_file(index):
        stored = read_json(index).get("actavatar", {})
    elif is_wan_layout(Path(folder)):
        index = Path(folder) / "config.json"
        stored = typed(WAN_EXTRA, read_json(index).get(WAN_EXTRA, {}), dict).get("defaults", {})
    else:
        return Defaults()
    with told_of(index):
        known = {field.name for field in dataclasses.fields(Defaults)}
        values = {key: value for key, value in typed("value of its defaults", stored, dict).items() if key in known}
        values["sampling"] = Sampling().changed(**typed("value of sampling", values.get("sampling", {}), dict))
        return Defaults(**values)


def change_defaults(folder: str | Path, **values: Any) -> None:
    """Writes other values of `Defaults` into a folder's `model_index.json`, whose other entries stay as they are.

    Raises InputError for a folder that has none.
    """
    index = Path(folder) / "model_index.json"
    if not is_file(index):
        raise InputError(
            f"There is no {named(index)} to write into; `actavatar convert from-torch` makes a model folder."
        )
    stored = read_json(index)
    with told_of(index):
        defaults = typed("value of its defaults", stored.get("actavatar", {}), dict)
    write_json(index, stored | {"actavatar": defaults | values})


def _tokenizer_class(folder: Path) -> str:
    """The class that the tokenizer's folder names; umT5's where there is no such folder yet."""
    config = folder / "tokenizer" / "tokenizer_config.json"
    return (read_json(config) if is_file(config) else {}).get("tokenizer_class", "T5TokenizerFast")
