"""The public files of EchoMimicV3 and of the Wan2.1-Fun release below it, as they lie on disk, read and written.

The folder of a wav2vec2 encoder is read by `actavatar_jax.weights.load(folder, "audio_encoder")`.
"""

import dataclasses
import re
from collections.abc import Callable, Collection
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
from actavatar_jax.weights import Exported, components, names, pth, write_sharded
from actavatar_jax.weights.reader import Slots
from actavatar_jax.weights.tables import clip, umt5, vae
from actavatar_jax.weights.writer import read_along

CONFIG, OURS = "config.json", "echomimic"  # of a transformer that was trained here, and the entry with its sizes


@dataclasses.dataclass(frozen=True)
class File:
    """One network in one file: its class, its names there, and those of tensors that nothing here uses."""

    module: type
    table: Callable[[Any], names.Table]
    name: str
    unused: Callable[[Any], str] = lambda config: names.NOTHING


FILES = {
    "transformer": File(EchoMimicDiT, tables.original, "diffusion_pytorch_model.safetensors"),
    "vae": File(WanVAE, vae.wan, "Wan2.1_VAE.pth"),
    "text_encoder": File(UMT5Encoder, umt5.wan, "models_t5_umt5-xxl-enc-bf16.pth"),
    "image_encoder": File(CLIPVision, clip.wan, "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth", clip.unused),
}


def read_file(part: str, folder: Path, config: Any, dtype: Any = None, shardings: Params | None = None) -> Params:
    """The parameters of a part of `FILES`, from the folder that holds its file.

    `dtype` and `shardings` are those of `weights.names.import_params`.

    Raises:
      InputError: the file is missing or damaged, or its tensors do not fit `config`.
    """
    return _read(part, _open(part, folder), folder, config, dtype, shardings)


def read_transformer(
    folder: Path,
    base: Path | None,
    config: EchoMimicConfig,
    dtype: Any = None,
    shardings: Params | None = None,
    only: Collection[str] | None = None,
) -> Params:
    """The parameters of EchoMimicV3's file in `folder`, and those that it lacks from Wan2.1-Fun's in `base`.

    Those of the speech have to be in the first, unless they are not among `only`. `only` and the rest are those of
    `weights.names.import_params`. Raises as `read_file`.
    """
    tensors = _open("transformer", folder)
    if base is not None:
        below, audio = _open("transformer", base), _audio_names(config)
        tensors = tensors.over(below.renamed({name: name for name in below.names() if name not in audio}))
    return _read("transformer", tensors, folder, config, dtype, shardings, only)


def hears(folder: Path, config: EchoMimicConfig) -> bool:
    """Whether a folder's transformer has parameters for speech, as Wan2.1-Fun's has not. Raises as `read_file`."""
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
    """Writes a trained transformer as `read_transformer` and `read_config` read it, once all of it is there.

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
    """Writes the file of a part of `FILES` into a folder, under its public name; the inverse of `read_file`.

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


def _read(
    part: str,
    tensors: Slots,
    folder: Path,
    config: Any,
    dtype: Any,
    shardings: Params | None,
    only: Collection[str] | None = None,
) -> Params:
    file = FILES[part]
    deaf = part == "transformer" and only is not None and not any(re.fullmatch(AUDIO, name) for name in only)
    used = [name for name in tensors.names() if not re.fullmatch(file.unused(config), name)]
    return names.import_params(
        file.table(config),
        functional.abstract(file.module, config),
        tensors.renamed({name: name for name in used}),
        dtype=dtype,
        shardings=shardings,
        float32=FLOAT32 if part == "transformer" else names.NOTHING,
        may_miss=AUDIO if deaf else names.NOTHING,
        only=only,
        model=f"the {part} of {named(folder)}",
    )


def _audio_names(config: EchoMimicConfig) -> set[str]:
    return {entry.theirs for entry in tables.original(config) if re.fullmatch(AUDIO, entry.ours)}
