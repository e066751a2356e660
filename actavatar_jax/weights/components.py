"""What a model folder is made of, and where each layout keeps it.

`transformer/`, `vae/`, `text_encoder/` and `audio_encoder/` hold a `config.json` and safetensors (diffusers layout).
The original Wan release keeps its three in files at the root and has no audio encoder; there ours stays a folder.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from actavatar_jax.checks import typed
from actavatar_jax.errors import InputError
from actavatar_jax.models import (
    MATRICES,
    PatchCodec,
    PatchCodecConfig,
    UMT5Config,
    UMT5Encoder,
    Wav2Vec2,
    Wav2Vec2Config,
)
from actavatar_jax.models.avatar import FLOAT32, ActAvatarDiT, DiTConfig
from actavatar_jax.models.wan_vae.vae import VAEConfig, WanVAE
from actavatar_jax.storage import named, read_json
from actavatar_jax.weights.files import is_file, is_folder
from actavatar_jax.weights.misfits import foreign_prefix
from actavatar_jax.weights.names import NOTHING, Table
from actavatar_jax.weights.pth import Pth
from actavatar_jax.weights.reader import Safetensors, Slots
from actavatar_jax.weights.tables import dit, patch_codec, umt5, vae, wav2vec2

WAN_VAE_FILE = "Wan2.2_VAE.pth"
WAN_TEXT_FILE = "models_t5_umt5-xxl-enc-bf16.pth"
TOKENIZERS = {"diffusers": Path("tokenizer"), "wan": Path("google/umt5-xxl")}  # by layout
WAN_EXTRA = "actavatar_folder"  # our key of the original layout's config.json: configs of parts that have no file there


def _same(name: str) -> str | None:
    return name


@dataclasses.dataclass(frozen=True)
class Loadable:
    """A network whose parameters are read from files: its class, and which of its leaves are read in other forms."""

    module: type
    _: dataclasses.KW_ONLY
    float32: str = NOTHING  # our leaves that stay in float32 when the others are read in less
    matrices: str = NOTHING  # our kernels that are quantized, where that is asked for


@dataclasses.dataclass(frozen=True)
class Kind(Loadable):
    """A network that can fill a component: its names and its config file."""

    config: type
    library: str  # with the class's name: its entry in model_index.json
    class_name: str  # also in config.json where a component has several kinds
    stem: str  # of the safetensors files
    table: Callable[[Any], Table]
    to_json: Callable[[Any], dict[str, Any]]
    from_json: Callable[[dict[str, Any]], Any]
    wan_table: Callable[[Any], Table] | None = None
    wan_file: str | None = None
    canonical: Callable[[str], str | None] = _same  # name in a file -> name in the table; None: not a parameter
    may_miss: str = NOTHING  # our leaves that may be absent, all together; they take their initial values
    executes: bool = True  # takes an `Execution`; else it always computes in float32


COMPONENTS: dict[str, tuple[Kind, ...]] = {
    "transformer": (
        Kind(
            ActAvatarDiT,
            DiTConfig,
            "diffusers",
            "WanTransformer3DModel",
            "diffusion_pytorch_model",
            dit.diffusers,
            dit.to_json,
            dit.from_json,
            wan_table=dit.wan,
            may_miss=dit.ADDED,
            float32=FLOAT32,
            matrices=MATRICES,
        ),
    ),
    "vae": (
        Kind(
            WanVAE,
            VAEConfig,
            "diffusers",
            "AutoencoderKLWan",
            "diffusion_pytorch_model",
            vae.diffusers,
            vae.to_json,
            vae.from_json,
            wan_table=vae.wan,
            wan_file=WAN_VAE_FILE,
        ),
        Kind(
            PatchCodec,
            PatchCodecConfig,
            "actavatar_jax",
            "PatchCodec",
            "diffusion_pytorch_model",
            patch_codec.ours,
            patch_codec.to_json,
            patch_codec.from_json,
            executes=False,
        ),
    ),
    "text_encoder": (
        Kind(
            UMT5Encoder,
            UMT5Config,
            "transformers",
            "UMT5EncoderModel",
            "model",
            umt5.diffusers,
            umt5.to_json,
            umt5.from_json,
            wan_table=umt5.wan,
            wan_file=WAN_TEXT_FILE,
            canonical=umt5.canonical,
            matrices=umt5.MATRICES,
        ),
    ),
    "audio_encoder": (
        Kind(
            Wav2Vec2,
            Wav2Vec2Config,
            "transformers",
            "Wav2Vec2Model",
            "model",
            wav2vec2.hf,
            wav2vec2.to_json,
            wav2vec2.from_json,
            canonical=wav2vec2.canonical,
            may_miss=wav2vec2.MAY_MISS,
        ),
    ),
}


@dataclasses.dataclass(frozen=True)
class Stored:
    """A component found on disk, its tensors not yet read."""

    kind: Kind
    config: Any
    table: Table
    files: Slots  # under the names of the files, without a foreign prefix
    tensors: Slots  # under the names of the table
    layout: str  # diffusers | wan


def find(folder: Path, component: str) -> Stored:
    """Finds a component of a model folder in either layout; what stands before the names of all its tensors, such as
    `model.diffusion_model.`, is left out.

    Raises:
      InputError: there is no such folder, it holds no such component, or the component's files are not understood.
    """
    if not is_folder(folder):
        raise InputError(f"There is no model folder {named(folder)}.")
    place = folder / component
    if component == "audio_encoder" and not is_folder(place) and is_file(folder / "config.json"):
        place = folder  # the encoder's own folder, as its publisher has it
    if is_file(place / "config.json"):
        values = read_json(place / "config.json")
        kind = kind_named(component, values.get("_class_name"))
        with told_of(place / "config.json"):
            config = kind.from_json(values)
            table = kind.table(config)
        return _stored(kind, config, table, open_tensors(place, kind.stem), "diffusers")
    kind = COMPONENTS[component][0]
    if kind.wan_table is not None and is_wan_layout(folder):
        with told_of(folder / "config.json"):
            config = _wan_config(folder, component, kind)
            table = kind.wan_table(config)
        files = Pth(folder / kind.wan_file) if kind.wan_file else open_tensors(folder, kind.stem)
        return _stored(kind, config, table, files, "wan")
    raise InputError(
        f"{named(folder)} holds no {component}: expected {component}/config.json (diffusers layout)"
        + (" or the files of the original Wan release." if kind.wan_table else ".")
    )


@contextlib.contextmanager
def told_of(path: Path) -> Iterator[None]:
    """Names the file in what is said of its content."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{named(path)} cannot be used: {error}") from error


def is_wan_layout(folder: Path) -> bool:
    """Whether a folder is an original Wan release: the transformer's config.json lies at its root."""
    return is_file(folder / "config.json") and "model_type" in read_json(folder / "config.json")


def find_tokenizer(folder: Path) -> Path:
    """The tokenizer's folder in a model folder of either layout; it need not be there."""
    places = [folder / place for place in TOKENIZERS.values()]
    return next((place for place in places if is_folder(place)), places[0])


def open_tensors(folder: Path, stem: str) -> Slots:
    """The weights of a folder: shards with an index, one safetensors file, or an old `pytorch_model.bin`."""
    index, single = folder / f"{stem}.safetensors.index.json", folder / f"{stem}.safetensors"
    old = folder / "pytorch_model.bin"
    if is_file(index):
        return Safetensors(index)
    if is_file(single) or not is_file(old):
        return Safetensors(single)
    return Pth(old)


def kind_of(component: str, config: Any) -> Kind:
    """The kind of network that `config` describes."""
    for kind in COMPONENTS[component]:
        if isinstance(config, kind.config):
            return kind
    raise TypeError(f"{type(config).__name__} is no config of a {component}")


def kind_named(component: str, class_name: Any) -> Kind:
    """The kind with that class name; the usual one for any other name, whose config reader then says what is wrong."""
    kinds = COMPONENTS[component]
    return next((kind for kind in kinds if kind.class_name == class_name), kinds[0])


def _wan_config(folder: Path, component: str, kind: Kind) -> Any:
    values = read_json(folder / "config.json")
    if component == "transformer":
        return dit.from_wan_json(values)
    extra = typed(component, typed(WAN_EXTRA, values.get(WAN_EXTRA, {}), dict).get(component, {}), dict)
    return kind.from_json(extra) if extra else kind.config()  # the release has one size, hard-coded


def _stored(kind: Kind, config: Any, table: Table, files: Slots, layout: str) -> Stored:
    files = _without_prefix(kind, table, files)
    names = {new: old for old in files.names() if (new := kind.canonical(old)) is not None}
    return Stored(kind, config, table, files, files.renamed(names), layout)


def _without_prefix(kind: Kind, table: Table, files: Slots) -> Slots:
    """The same tensors without what a program put before the names of all of them, such as `model.diffusion_model.` or
    `module.`: whatever stands there, the rest then has to fit as ever."""
    known, found = {entry.theirs for entry in table}, files.names()
    canonical = [name for old in found if (name := kind.canonical(old)) is not None]
    prefix = foreign_prefix(known, [name for name in canonical if name not in known])
    while prefix and not all(name.startswith(prefix) for name in found):
        prefix = prefix[: prefix.rfind(".", 0, -1) + 1]  # `module.wav2vec2.`, then `module.`
    return files.renamed({name.removeprefix(prefix): name for name in found}) if prefix else files
