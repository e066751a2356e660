"""The public files of EchoMimicV3 and of the Wan2.1-Fun release below it, as they lie on disk, read and written.

The folder of a wav2vec2 encoder is read by `actavatar_jax.weights.load(folder, "audio_encoder")`.
"""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from actavatar_jax import functional
from actavatar_jax.echomimic import tables
from actavatar_jax.echomimic.config import AUDIO, EchoMimicConfig
from actavatar_jax.echomimic.model import EchoMimicDiT
from actavatar_jax.functional import Params
from actavatar_jax.models import UMT5Encoder
from actavatar_jax.models.avatar import FLOAT32
from actavatar_jax.models.clip import CLIPVision
from actavatar_jax.models.wan_vae import WanVAE
from actavatar_jax.storage import named
from actavatar_jax.weights import Exported, components, names, pth, write_sharded
from actavatar_jax.weights.reader import Slots
from actavatar_jax.weights.tables import clip, umt5, vae


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
    folder: Path, base: Path, config: EchoMimicConfig, dtype: Any = None, shardings: Params | None = None
) -> Params:
    """The parameters of EchoMimicV3's file in `folder`, and those that it lacks from Wan2.1-Fun's in `base`.

    Those of the speech have to be in the first. Raises as `read_file`.
    """
    below, audio = _open("transformer", base), _audio_names(config)
    below = below.renamed({name: name for name in below.names() if name not in audio})
    return _read("transformer", _open("transformer", folder).over(below), folder, config, dtype, shardings)


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


def _read(part: str, tensors: Slots, folder: Path, config: Any, dtype: Any, shardings: Params | None) -> Params:
    file = FILES[part]
    used = [name for name in tensors.names() if not re.fullmatch(file.unused(config), name)]
    return names.import_params(
        file.table(config),
        functional.abstract(file.module, config),
        tensors.renamed({name: name for name in used}),
        dtype=dtype,
        shardings=shardings,
        float32=FLOAT32 if part == "transformer" else names.NOTHING,
        model=f"the {part} of {named(folder)}",
    )


def _audio_names(config: EchoMimicConfig) -> set[str]:
    return {entry.theirs for entry in tables.original(config) if re.fullmatch(AUDIO, entry.ours)}
