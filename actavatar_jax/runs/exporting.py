"""Whole model folders from what trainings leave: a trained transformer, or an adapter or LoRA for a base."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax

from actavatar_jax.errors import InputError
from actavatar_jax.functional import Params
from actavatar_jax.models.avatar import DiTConfig
from actavatar_jax.storage import locked_target, named, refusal, replaced_folder
from actavatar_jax.weights import (
    COMPONENTS,
    check_copy,
    check_loading,
    check_new,
    check_space,
    copy_folder,
    stored_bytes,
)
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

    Raises InputError for files that do not fit the base or cannot be copied, and for an `out` that is there or cannot
    be written; all of it before weights are read.
    """
    check_loading(dtype or "float32")
    check_new(out)
    check_space(out, stored_bytes(base, "transformer", dtype) + check_base(base))
    with locked_target(out):
        check_new(out)  # another export may have ended since
        with replaced_folder(out) as partial:
            part = model_folder.load(base, "transformer", dtype, loras=loras, adapter=adapter)
            model_folder.save(partial, "transformer", part.config, part.params)
            problems = list(_add_parts(partial, base))
            if problems:
                raise refusal(f"{named(out)} is not written:", problems)


def check_base(base: Path) -> int:
    """Bytes of what will be copied of the model folder `base`.

    InputError where something of it cannot be, or its index is not understood: what is told here cannot end a long
    training in its last moment.
    """
    model_folder.index_of(base, model_folder.load_defaults(base))
    return sum(check_copy(base / name) for name in COPIED)


def write_model(folder: Path, base: str, model_config: DiTConfig, params: Params) -> None:
    """The model folder: a transformer, and beside it the other parts of the folder `base`, if there is one.

    Over several processes each of them calls this, and the first one writes. Of a base that can no longer be copied the
    rest is there all the same, and the InputError says what is missing.
    """
    if jax.process_index() > 0:
        model_folder.save(folder, "transformer", model_config, params)  # only helps to collect the parameters
        return
    with replaced_folder(folder) as partial:
        model_folder.save(partial, "transformer", model_config, params)  # first, because the others wait for it
        problems = list(_add_parts(partial, Path(base) if base else None))
    if problems:
        raise refusal(f"{named(folder)} is written, but not all of it:", problems)


def _add_parts(folder: Path, base: Path | None) -> Iterator[str]:
    """Puts what is not the transformer beside it; yields what cannot be copied."""
    defaults = model_folder.Defaults()
    if base is not None:
        for name in COPIED:
            try:
                copy_folder(base / name, folder / name)
            except InputError as error:
                yield str(error)
        try:
            defaults = model_folder.load_defaults(base)
        except InputError as error:
            yield str(error)
    try:
        model_folder.save_index(folder, dataclasses.replace(defaults, velocity_path=()))  # measured on other weights
    except InputError as error:
        yield str(error)
