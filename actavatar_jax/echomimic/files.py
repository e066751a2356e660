"""The public files of EchoMimicV3 and of the Wan2.1-Fun release below it, as they lie on disk, read and written.

The folder of a wav2vec2 encoder is read by `actavatar_jax.weights.load(folder, "audio_encoder")`.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from actavatar_jax import functional
from actavatar_jax.echomimic import tables
from actavatar_jax.echomimic.config import AUDIO, EchoMimicConfig
from actavatar_jax.echomimic.model import EchoMimicDiT
from actavatar_jax.errors import InputError
from actavatar_jax.functional import Params
from actavatar_jax.models import UMT5Encoder
from actavatar_jax.models.avatar import FLOAT32
from actavatar_jax.models.clip import CLIPVision
from actavatar_jax.models.wan_vae import WanVAE
from actavatar_jax.storage import named, read_json, replaced_folder, write_json
from actavatar_jax.weights import Exported, components, lora, names, pth, quantized, write_sharded
from actavatar_jax.weights.components import Loadable
from actavatar_jax.weights.reader import Slots
from actavatar_jax.weights.residence import Place, as_read
from actavatar_jax.weights.tables import clip, umt5, vae
from actavatar_jax.weights.writer import read_along

MATRICES = r"blocks/(self_attn|cross_attn|image_attn|audio_attn|ffn)/\w+/kernel"  # those that are quantized
CONFIG, OURS = "config.json", "echomimic"  # of a transformer that was trained here, and the entry with its sizes


@dataclasses.dataclass(frozen=True)
class File(Loadable):
    """One network in one file: its names there, and those of tensors that nothing here uses."""

    table: Callable[[Any], names.Table]
    name: str
    unused: Callable[[Any], str] = lambda config: names.NOTHING


FILES = {
    "transformer": File(
        EchoMimicDiT, tables.original, "diffusion_pytorch_model.safetensors", float32=FLOAT32, matrices=MATRICES
    ),
    "vae": File(WanVAE, vae.wan, "Wan2.1_VAE.pth"),
    "text_encoder": File(UMT5Encoder, umt5.wan, "models_t5_umt5-xxl-enc-bf16.pth", matrices=umt5.MATRICES),
    "image_encoder": File(CLIPVision, clip.wan, "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth", clip.unused),
}


@dataclasses.dataclass(frozen=True, eq=False)
class FileReader:
    """Reads the parameters of a part of `FILES`, as often as it is asked. InputError for tensors that do not fit."""

    part: str
    folder: Path
    tensors: Slots
    config: Any
    ways: Mapping[str, Any]  # how, as `weights.names.import_params` takes it

    def __post_init__(self):
        names.check_source(self._table, self._abstract, self._used, may_miss=self._may_miss, model=self._model)

    def read(self, place: Place = as_read) -> Params:
        """The parameters; each went through `place` before the next one was read."""
        revise = self.ways.get("revise", lambda name, leaf: leaf)
        return names.import_params(
            self._table,
            self._abstract,
            self._used,
            float32=FILES[self.part].float32,
            may_miss=self._may_miss,
            model=self._model,
            **{**self.ways, "revise": lambda name, leaf: place(revise(name, leaf))},
        )

    @functools.cached_property
    def _table(self) -> names.Table:
        return FILES[self.part].table(self.config)

    @functools.cached_property
    def _abstract(self) -> Params:
        return functional.abstract(FILES[self.part].module, self.config)

    @functools.cached_property
    def _used(self) -> Slots:
        unused = FILES[self.part].unused(self.config)
        return self.tensors.renamed({name: name for name in self.tensors.names() if not re.fullmatch(unused, name)})

    @property
    def _may_miss(self) -> str:
        only = self.ways.get("only")
        deaf = self.part == "transformer" and only is not None and not any(re.fullmatch(AUDIO, name) for name in only)
        return AUDIO if deaf else names.NOTHING

    @property
    def _model(self) -> str:
        """What errors call it."""
        return f"the {self.part} of {named(self.folder)}"


def open_file(part: str, folder: Path, config: Any, **ways: Any) -> FileReader:
    """What reads the parameters of a part of `FILES` from the folder that holds its file.

    `ways` are those of `weights.names.import_params`.

    Raises:
      InputError: the file is missing or damaged, or its tensors do not fit `config`.
    """
    return FileReader(part, folder, _open(part, folder), config, ways)


def open_transformer(folder: Path, base: Path | None, config: EchoMimicConfig, **ways: Any) -> FileReader:
    """What reads the parameters of EchoMimicV3's file in `folder`, and those that it lacks from Wan2.1-Fun's in `base`.

    Those of the speech have to be in the first, unless they are not among `only`. `ways`, of which that is one, are
    those of `weights.names.import_params`. Raises as `open_file`.
    """
    tensors = _open("transformer", folder)
    if base is not None:
        below, audio = _open("transformer", base), _audio_names(config)
        tensors = tensors.over(below.renamed({name: name for name in below.names() if name not in audio}))
    return FileReader("transformer", folder, tensors, config, ways)


def revision(
    part: str, config: Any, quantize: str | None = None, loras: Sequence[str | Path] = ()
) -> Callable[[str, Any], Any]:
    """What becomes of each leaf of a part when it is read: LoRA files are added, large kernels quantized.

    Raises InputError for another form than int8 and fp8, and for LoRA files as `weights.lora.read`.
    """
    file = FILES[part]
    abstract, forms = functional.abstract(file.module, config), quantized.forms_of(file, quantize)
    spellings = (tables.original(config), tables.diffusers(config)) if loras else ()
    additions = lora.read(loras, abstract, spellings)

    def revise(name: str, leaf: Any) -> Any:
        return quantized.quantize_leaf(name, lora.add(leaf, additions.get(name, ())), forms)

    return revise


def hears(folder: Path, config: EchoMimicConfig) -> bool:
    """Whether a folder's transformer has parameters for speech, as Wan2.1-Fun's has not. Raises as `open_file`."""
    return not _audio_names(config).isdisjoint(_open("transformer", folder).names())


def read_config(folder: Path, variant: str) -> EchoMimicConfig:
    """The sizes of a folder's transformer: the published ones of the variant, unless `write_transformer` wrote it.

    Raises:
      InputError: they are not those of the variant, or none.
    """
    notes = folder / CONFIG
    stored = read_json(notes).get(OURS) if notes.is_file() else None
    if stored is None:
        return EchoMimicConfig(variant=variant)
    names = {field.name for field in dataclasses.fields(EchoMimicConfig)}
    if not isinstance(stored, dict) or stored.keys() != names:
        raise InputError(f"{named(notes)} does not have the sizes of EchoMimicV3's transformer.")
    config = EchoMimicConfig(**stored | {"patch": tuple(stored["patch"])})
    if config.variant != variant:
        raise InputError(f"{named(folder)} holds a transformer of {config.variant}, not of {variant}.")
    return config


def write_transformer(folder: Path, config: EchoMimicConfig, params: Params) -> None:
    """Writes a trained transformer as `open_transformer` and `read_config` read it, once all of it is there.

    Over several processes each of them calls this, and the first one writes.
    """
    exported = Exported(FILES["transformer"].table(config), params)
    if jax.process_index() > 0:
        read_along(exported)
        return
    with replaced_folder(folder) as partial:
        write_sharded(partial, Path(FILES["transformer"].name).stem, exported)
        write_json(partial / CONFIG, {OURS: dataclasses.asdict(config)})


def write_file(part: str, folder: Path, config: Any, params: Params) -> None:
    """Writes the file of a part of `FILES` into a folder, under its public name; `open_file` reads it.

    Raises:
      InputError: it is a `.pth`, and PyTorch is not installed.
    """
    file = FILES[part]
    tensors = Exported(file.table(config), params)
    if file.name.endswith(".pth"):
        pth.write_pth(folder / file.name, tensors)
    else:
        write_sharded(folder, Path(file.name).stem, tensors)


def _open(part: str, folder: Path) -> Slots:
    name = FILES[part].name
    return pth.Pth(folder / name) if name.endswith(".pth") else components.open_tensors(folder, Path(name).stem)


def _audio_names(config: EchoMimicConfig) -> set[str]:
    return {entry.theirs for entry in tables.original(config) if re.fullmatch(AUDIO, entry.ours)}
