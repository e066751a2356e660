"""Heads that are drawn once and kept as bytes, and beside them the tokens of their keyframes.

`FOLDER/part-<n>/frames.npy` are the heads of 64 clips, `speech.json` beside it their keyframes, `words.json` those of
words. A part appears when it is whole; what is there already is not drawn again, and several runs may share the folder.

F frames, s pixels a side, N tokens of a frame.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int32, UInt8
from tqdm import tqdm

from actavatar_jax.errors import InputError
from actavatar_jax.puppets.avatarsync.heads import make_head
from actavatar_jax.puppets.world.clips import World
from actavatar_jax.storage import locked_folder, read_json, replaced_file, replaced_folder, write_json

PART = 64  # clips that are drawn, or lost to a kill, together
SPEECH = {"phonemes": "speech.json", "words": "words.json"}  # by the level of units


@dataclass(frozen=True, eq=False)
class Kept:
    """One clip: its frames on the disk, and which of them are keyframes of which units."""

    frames: UInt8[np.ndarray, "F s s 3"]
    numbers: Int32[np.ndarray, " T"]
    units: Int32[np.ndarray, " T"]


def keep_heads(folder: Path, seeds: Sequence[int], world: World, side: int, level: str = "phonemes") -> list[Kept]:
    """The heads of the clips of these seeds, drawn where they are not there yet, with units of that level.

    InputError for a folder with heads of other seeds or of another world, or from when words were not kept.
    """
    made_by = {"world": asdict(world), "side": side}
    parts = [list(seeds[first : first + PART]) for first in range(0, len(seeds), PART)]
    for number, part in enumerate(tqdm(parts, "heads", unit="part")):
        place = folder / f"part-{number:03d}"
        with _alone_in(folder):
            if not place.is_dir():
                _draw(place, part, world, side, made_by)
        if read_json(place / "made_by.json") != _as_json(made_by | {"seeds": part}):
            raise InputError(f"{place} holds heads of another world or of other seeds; give another work folder.")
        if not (place / SPEECH[level]).is_file():
            raise InputError(f"{place} holds heads without units of {level}; give another work folder.")
    return [head for number in range(len(parts)) for head in _read(folder / f"part-{number:03d}", level)]


def keep_tokens(
    folder: Path, heads: Sequence[Kept], encode: Callable[[UInt8[np.ndarray, "B s s 3"]], np.ndarray]
) -> list[Int32[np.ndarray, "_ N"]]:
    """The tokens of the keyframes of every clip, made where they are not there yet; `encode` has one shape to compile
    for."""
    most, tokens = max(len(head.numbers) for head in heads), []
    groups = [heads[first : first + PART] for first in range(0, len(heads), PART)]
    for number, group in enumerate(tqdm(groups, "tokens", unit="part")):
        place = folder / f"part-{number:03d}.npy"
        with _alone_in(folder):
            if not place.exists():
                made = [encode(head.frames[_padded(head.numbers, most)]) for head in group]
                with replaced_file(place) as partial, partial.open("wb") as file:
                    np.save(file, np.stack(made).astype(np.int32))
        stored = np.load(place)
        tokens += [row[: len(head.numbers)] for row, head in zip(stored, group, strict=True)]
    return tokens


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Runs side by side that share a folder make each part once."""
    folder.mkdir(parents=True, exist_ok=True)
    with locked_folder(folder, wait=True):
        yield


def _draw(place: Path, seeds: Sequence[int], world: World, side: int, made_by: dict) -> None:
    heads = [make_head(seed, world, side) for seed in seeds]
    with replaced_folder(place) as partial:
        np.save(partial / "frames.npy", np.stack([head.frames for head in heads]))
        for level, file in SPEECH.items():
            plans = [replace(head, level=level).plan.schedule for head in heads]
            speech = [{"numbers": [int(k.time) for k in plan.keyframes], "units": plan.ids.tolist()} for plan in plans]
            write_json(partial / file, {"clips": speech})
        write_json(partial / "made_by.json", _as_json(made_by | {"seeds": seeds}))


def _read(place: Path, level: str) -> list[Kept]:
    frames = np.load(place / "frames.npy", mmap_mode="r")
    return [
        Kept(one, np.asarray(said["numbers"], np.int32), np.asarray(said["units"], np.int32))
        for one, said in zip(frames, read_json(place / SPEECH[level])["clips"], strict=True)
    ]


def _padded(numbers: Int32[np.ndarray, " T"], most: int) -> Int32[np.ndarray, " most"]:
    return np.pad(numbers, (0, most - len(numbers)), mode="edge")


def _as_json(values: dict) -> dict:
    """As they are when they have been written and read: tuples are lists."""
    world = {name: list(value) if isinstance(value, tuple) else value for name, value in values["world"].items()}
    return {**values, "world": world, "seeds": list(values["seeds"])}
