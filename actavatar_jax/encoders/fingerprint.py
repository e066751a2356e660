"""SHA-256 of the frozen parts.

Of a network: equal for the same kind, sizes and weights, in memory or in files, in any layout and dtype.
"""

import dataclasses
import functools
import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from actavatar_jax import functional
from actavatar_jax.prompt.tokenizer import ModelTokenizer
from actavatar_jax.storage import parse_json, read_json, write_json
from actavatar_jax.weights import Component, Stored, arrays, find, load, names, optional_leaves

log = logging.getLogger(__name__)

NOTES = "fingerprints.json"
Leaf = tuple[str, tuple[int, ...], Iterable[np.ndarray | jax.Array]]  # name, shape, its elements piece by piece


def of(part: Component) -> str:
    """Of a network in memory."""
    with part.on_device() as params:
        flat = functional.flatten(params)
        return _digest(part.module, part.config, ((name, flat[name].shape, [flat[name]]) for name in sorted(flat)))


def of_stored(folder: str | Path, component: str) -> str:
    """Of a component of a model folder, as `of(load(folder, component))` gives it.

    In memory is no more than one tensor of one layer: of the full-size umT5, 84 MB.

    Raises:
      InputError: the component is missing, its files are broken, or its tensors do not fit (all of them in one error).
    """
    part = find(Path(folder), component)
    if optional_leaves(part.kind, part.table, part.tensors) != names.NOTHING:
        return of(load(folder, component))  # initial values stand for what is absent; the large parts have to be whole
    abstract = functional.abstract(part.kind.module, part.config)
    names.check_source(part.table, abstract, part.tensors, model=f"the {component} of {folder}")
    entries: dict[str, list[names.Entry]] = {}
    for entry in part.table:
        entries.setdefault(entry.ours, []).append(entry)
    leaves = sorted(functional.flatten(abstract).items())
    stored = ((name, leaf.shape, _pieces(part, entries[name])) for name, leaf in leaves)
    return _digest(part.kind.module, part.config, stored)


def remembered(folder: Path, component: str) -> str:
    """`of_stored`, or what an earlier call found for the same files."""
    notes, place = folder / NOTES, folder / component
    place = place if place.is_dir() else folder
    state = {file.name: [file.stat().st_size, file.stat().st_mtime_ns] for file in sorted(place.iterdir())}
    state.pop(NOTES, None)
    known = read_json(notes) if notes.is_file() else {}
    note = known.get(component)
    if isinstance(note, dict) and note.get("files") == state:
        return note["sha256"]
    found = of_stored(folder, component)
    try:
        write_json(notes, known | {component: {"files": state, "sha256": found}})
    except OSError as error:
        log.info("Fingerprints cannot be kept in %s: %s", folder, error)
    return found


def of_tokenizer(tokenizer: ModelTokenizer) -> str:
    """Of what decides the ids of a text."""
    settings = parse_json(tokenizer.backend.to_str(), "the tokenizer")
    settings = {key: settings[key] for key in ("normalizer", "pre_tokenizer", "post_processor", "model")}
    return hashlib.sha256(_canonical_json(settings)).hexdigest()


def _canonical_json(value: Any) -> bytes:
    """The same bytes for equal values, in any process."""
    return json.dumps(value, sort_keys=True, ensure_ascii=True).encode()


def _digest(module: type, config: Any, leaves: Iterable[Leaf]) -> str:
    """Weights count as rounded to bfloat16, so that the dtype they have is no matter. `leaves`: sorted by name."""
    digest = hashlib.sha256(_canonical_json([module.__name__, dataclasses.asdict(config)]))
    for name, shape, pieces in leaves:
        digest.update(f"{name}{shape}".encode())
        for piece in pieces:
            digest.update(np.asarray(piece.astype(jnp.bfloat16)).reshape(-1).view(np.uint8))
    return digest.hexdigest()


def _pieces(part: Stored, entries: Sequence[names.Entry]) -> Iterator[np.ndarray]:
    """The elements of our leaf that `entries` (all its layers, in order) make up, in row-major order."""
    for entry in entries:
        if entry.transform is names.IDENTITY:  # as they lie in the file: a token embedding has 2 GB
            yield from part.tensors.pieces(entry.theirs)
            continue
        view = functools.partial(_in_our_layout, part, entry)
        out = np.empty(view().shape, jnp.bfloat16)
        arrays.fill(out, view)
        yield out


def _in_our_layout(part: Stored, entry: names.Entry) -> np.ndarray:
    return entry.transform.to_ours(part.tensors.view(entry.theirs))
