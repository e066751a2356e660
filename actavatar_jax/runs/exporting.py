"""Whole model folders from what trainings leave: a trained transformer, or an adapter or LoRA for a base."""

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

import jax

from actavatar_jax.errors import InputError
from actavatar_jax.functional import Params
from actavatar_jax.models.avatar import DiTConfig
from actavatar_jax.storage import replaced_folder
from actavatar_jax.weights import COMPONENTS
from actavatar_jax.weights import folder as model_folder

# What else a model folder has and is made of; whatever lies beside it (a repository's files, caches) stays there.
COPIED = (*(name for name in COMPONENTS if name != "transformer"), "tokenizer", "scheduler")


def export_model(
    base: Path, out: Path, adapter: Path | None = None, loras: Sequence[str | Path] = (), dtype: str | None = None
) -> None:
    """Writes the model folder `out`: the one at `base` with an adapter in the place of its own, and LoRA merged in.

    Args:
      base: a model folder.
      out: must not exist.
      adapter: what stage 1 wrote, `adapter.safetensors`.
      loras: as for sampling, `FILE` or `FILE:strength`.
      dtype: of the transformer's weights; None: as they are stored.

    Raises InputError for files that do not fit the base, and for an `out` that is there.
    """
    if out.exists():
        raise InputError(f"{out} is there already; name a folder that is not.")
    part = model_folder.load(base, "transformer", dtype, loras=loras, adapter=adapter)
    write_model(out, str(base), part.config, part.params)


def write_model(folder: Path, base: str, model_config: DiTConfig, params: Params) -> None:
    """The model folder: a transformer, and beside it the other parts of the folder `base`, if there is one.

    Over several processes each of them calls this, and the first one writes.
    """
    if jax.process_index() > 0:
        model_folder.save(folder, "transformer", model_config, params)  # only helps to collect the parameters
        return
    with replaced_folder(folder) as partial:
        model_folder.save(partial, "transformer", model_config, params)  # first, because the others wait for it
        for name in COPIED:
            if base and (Path(base) / name).is_dir():
                shutil.copytree(Path(base) / name, partial / name, dirs_exist_ok=True)
        defaults = model_folder.load_defaults(base) if base else model_folder.Defaults()
        model_folder.save_index(partial, dataclasses.replace(defaults, velocity_path=()))  # measured on other weights
