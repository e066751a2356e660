"""Model folders from and to PyTorch layouts, piece by piece: tensors are renamed, their bytes stay as they are.

Our model folder is the diffusers layout with tensors of ours beside the others, so a conversion is a change of layout
between `diffusers` and `wan` (the original release), or a checked copy.
"""

import dataclasses
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from actavatar_jax.diffusion import Sampling
from actavatar_jax.errors import InputError
from actavatar_jax.storage import locked_target, named, read_json, replaced_folder, shown, write_json
from actavatar_jax.weights.components import COMPONENTS, TOKENIZERS, WAN_EXTRA, Stored, find, find_tokenizer
from actavatar_jax.weights.copying import check_copy, check_new, check_space, copy_folder
from actavatar_jax.weights.files import is_folder
from actavatar_jax.weights.folder import Defaults, load_defaults, save_index
from actavatar_jax.weights.pth import write_pth
from actavatar_jax.weights.reader import Slots
from actavatar_jax.weights.reading import check_tensors
from actavatar_jax.weights.residence import stored_bytes
from actavatar_jax.weights.tables import dit
from actavatar_jax.weights.writer import write_sharded

log = logging.getLogger(__name__)

LAYOUTS = ("diffusers", "wan")
WEIGHT_FILES = ("*.safetensors", "*.safetensors.index.json", "*.bin", "*.pth", "*.h5", "*.msgpack", "*.onnx")

Progress = Callable[[str, int, int], Any]  # told (component, bytes done, bytes in all) after each piece


def from_torch(
    src: str | Path,
    dst: str | Path,
    report: Progress = lambda *_: None,
    phase_time: str | None = None,
    rate: int | None = None,
) -> None:
    """Makes a model folder `dst` of an original Wan or a diffusers folder `src`.

    `phase_time` is recorded as the form in which the transformer's text knows time (`prompt.forms`), and `rate` as the
    frames a second that it was trained on: nothing in public weights says so.

    A backbone without our adapters stays one: they are not written, and start at their identity when it is loaded.

    Raises:
      InputError: `src` lacks a component or tensors do not fit its config, or `dst` is there already.
    """
    told = Sampling(phase_time=phase_time, rate=rate)  # which says what is accepted
    settings = {"phase_time": told.phase_time, "latent_rate": told.rate and told.rate / 4}
    _convert(Path(src), Path(dst), "diffusers", report, {key: x for key, x in settings.items() if x is not None})


def to_torch(
    folder: str | Path, out: str | Path, layout: str = "diffusers", report: Progress = lambda *_: None
) -> None:
    """Writes a model folder in a PyTorch layout, `diffusers` or `wan` (needs the `torch` extra for its .pth files).

    Raises:
      InputError: as `from_torch`, or the folder holds a PatchCodec, which has no place in the original layout.
    """
    if layout not in LAYOUTS:
        raise InputError(f"There is no layout {shown(layout)}; accepted are {' and '.join(LAYOUTS)}.")
    _convert(Path(folder), Path(out), layout, report)


def _convert(src: Path, dst: Path, layout: str, report: Progress, settings: Mapping[str, Any] | None = None) -> None:
    check_new(dst)
    stored = {
        component: find(src, component)
        for component in COMPONENTS
        # Plain Wan folders have no audio encoder.
        if component != "audio_encoder" or is_folder(src / component)
    }
    if settings:
        config = dataclasses.replace(stored["transformer"].config, **settings)
        stored["transformer"] = dataclasses.replace(stored["transformer"], config=config)
    for component, part in stored.items():
        check_tensors(part, f"the {component} of {named(src)}")
    if layout == "wan" and stored["vae"].kind.wan_table is None:
        raise InputError(
            f"{named(src)} holds a PatchCodec, which the layout wan has no place for; accepted is diffusers."
        )
    sizes = {name: stored_bytes(src, name) for name in stored}
    check_space(dst, sum(sizes.values()) + _check_copies(src, stored, layout))
    defaults = load_defaults(src)
    with locked_target(dst):
        check_new(dst)  # another conversion may have ended since
        with replaced_folder(dst) as partial:
            for component, part in stored.items():
                progress = _Progress(component, sizes[component], report)
                if layout == "diffusers" or part.kind.wan_table is None:
                    _write_component(part, src / component, partial / component, progress)
                elif part.kind.wan_file is None:
                    write_sharded(partial, part.kind.stem, _renamed(part, layout), progress=progress)
                else:
                    write_pth(partial / part.kind.wan_file, _renamed(part, layout), progress)
            if settings:
                _record_settings(stored["transformer"], partial / "transformer" / "config.json")
            _copy_tokenizer(src, partial, layout)
            _write_index(src, partial, stored, layout, defaults)


def _check_copies(src: Path, stored: Mapping[str, Stored], layout: str) -> int:
    """Bytes of what is copied as it is; InputError where that cannot be."""
    places = [src / name for name, part in stored.items() if part.layout == "diffusers" and layout == "diffusers"]
    total = sum(check_copy(place, WEIGHT_FILES) for place in places)
    return total + sum(check_copy(place) for place in (find_tokenizer(src), src / "scheduler"))


def _renamed(part: Stored, layout: str) -> Slots:
    """The tensors under the names of `layout`; two tables of one model meet in our names."""
    if part.layout == layout:
        return part.files
    other = {"diffusers": part.kind.table, "wan": part.kind.wan_table}[layout](part.config)
    old = {(entry.ours, entry.layer): entry.theirs for entry in part.table}
    present = set(part.tensors.names())
    pairs = {entry.theirs: old[entry.ours, entry.layer] for entry in other}
    return part.tensors.renamed({new: name for new, name in pairs.items() if name in present})


def _write_component(part: Stored, src: Path, dst: Path, progress: Callable[[int], Any]) -> None:
    write_sharded(dst, part.kind.stem, _renamed(part, "diffusers"), progress=progress)
    if part.layout == "wan":
        write_json(dst / "config.json", part.kind.to_json(part.config))
    else:  # config.json as it is, and what else belongs to it, such as preprocessor_config.json
        copy_folder(src, dst, WEIGHT_FILES)


def _record_settings(part: Stored, config: Path) -> None:
    """Puts our own settings into a transformer's config, which stays as it is but for them."""
    write_json(config, read_json(config) | {"actavatar": dit.to_json(part.config)["actavatar"]})


def _copy_tokenizer(src: Path, dst: Path, layout: str) -> None:
    if is_folder(tokenizer := find_tokenizer(src)):
        copy_folder(tokenizer, dst / TOKENIZERS[layout])
    else:
        log.warning("%s is missing: the new folder has no tokenizer", tokenizer)


def _write_index(src: Path, dst: Path, stored: dict[str, Stored], layout: str, defaults: Defaults) -> None:
    if layout == "diffusers":
        save_index(dst, defaults)
        copy_folder(src / "scheduler", dst / "scheduler")
        return
    extra: dict[str, Any] = {"defaults": dataclasses.asdict(defaults)}
    for component in ("vae", "text_encoder"):
        extra[component] = stored[component].kind.to_json(stored[component].config)
    write_json(dst / "config.json", {**dit.to_wan_json(stored["transformer"].config), WAN_EXTRA: extra})


class _Progress:
    """Adds up the bytes of one component and reports them."""

    def __init__(self, component: str, total: int, report: Progress):
        self.component, self.total, self.report = component, total, report
        self.done = 0

    def __call__(self, size: int) -> None:
        self.done += size
        self.report(self.component, self.done, self.total)
