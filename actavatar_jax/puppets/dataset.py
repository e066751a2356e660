"""Drawn clips as training data: drawn anew for every batch, or encoded once into shards for machines with few cores."""

import multiprocessing
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import grain
import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from actavatar_jax.encoders import Encoders
from actavatar_jax.errors import InputError
from actavatar_jax.prompt import StructuredPrompt
from actavatar_jax.puppets.world.clips import PuppetClip, World, make_clip
from actavatar_jax.storage import replaced_folder
from data_pipelines.loading import FitShapes, Stream
from data_pipelines.shards import (
    FrozenEncoders,
    Record,
    RecordMaker,
    describe_records,
    open_dataset,
    serialize_record,
    write_dataset,
)

WORDINGS = ("structured", "global", "brief")  # of a clip's prompt: with windows, actions without times, no actions
PART = 512  # clips that are encoded, or lost to a kill, together
# A seed is a presenter, a sentence and a script. Judges have seeds of their own above these.
TEST_SEED, WATCHED_SEEDS = 0, range(1_000, 2_000)  # never trained on: for scores, and for looking on while training
TRAIN_SEEDS, DECODER_SEEDS = range(10_000, 2_000_000_000), range(2_000_000_000, 3_000_000_000)


class PuppetSource:
    """Random access to records of clips that are drawn in other processes when they are asked for.

    Record i is the clip of seed `seeds[i]`, the same every time, so a loader's place is exact without any storage.
    """

    def __init__(self, encoders: FrozenEncoders, world: World, seeds: range, wording: str = "structured"):
        self.world, self.seeds, self.wording = world, seeds, _known(wording)
        self.make_record = RecordMaker(encoders)
        self.pool = _pool()

    def __enter__(self) -> "PuppetSource":
        return self

    def __exit__(self, *_) -> None:
        """Ends the drawing processes."""
        self.pool.shutdown(cancel_futures=True)

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, index: int) -> Record:
        clip = self.pool.submit(make_clip, self.seeds[index], self.world).result()
        prompt = prompt_of(clip, self.wording)
        return self.make_record(f"puppet-{self.seeds[index]}", 0, clip.frames, clip.audio, prompt)


def make_puppet_loader(
    source: PuppetSource,
    *,
    batch_size: int,
    seed: int,
    text_drop: float,
    audio_drop: float,
    both_drop: float,
    text_len: int,
    max_phases: int,
    rows: Sequence[int] | None = None,
) -> grain.IterDataset:
    """Endless batches with the keys, shapes and types of `make_loader`, drawn on the fly."""
    stream = Stream(batch_size, seed, (text_drop, audio_drop, both_drop), rows=rows)
    read = grain.ReadOptions(num_threads=os.cpu_count(), prefetch_buffer_size=2 * batch_size)
    fit = FitShapes(source.make_record.encode_empty_prompt(), text_len, max_phases)
    return stream.make_batches([source], [fit], read)


def open_source(config: Any, **options: Any) -> tuple[grain.IterDataset, int]:
    """Batches that are drawn as the settings of a training say, and how many there are before a clip comes again."""
    encoders, d = Encoders.from_folder(config.model.folder), config.data
    source = PuppetSource(encoders, World(**d.world), TRAIN_SEEDS, d.wording)
    return make_puppet_loader(source, **options), len(source)


SOURCES = {"puppets": open_source}  # for `runs.training.run_training`


def write_shards(folder: Path, encoders: FrozenEncoders, world: World, seeds: range, wordings: Iterable[str]) -> None:
    """Draws and encodes the clips of `seeds` once, into `folder/<wording>/part-<n>`; finished parts are kept.

    The wordings share pictures and sound. Raises InputError if the folder holds parts of other encoders or worlds.
    """
    wordings = [_known(wording) for wording in wordings]
    maker = RecordMaker(encoders)
    made_by = describe_records(encoders, world.frames) | {
        "world": repr(world),
        "empty_prompt": maker.encode_empty_prompt().to_dict(),
    }
    parts = [seeds[first : first + PART] for first in range(0, len(seeds), PART)]
    with tqdm(total=len(seeds), desc="puppets", unit="clip") as bar, _pool() as pool:
        for number, part in enumerate(parts):
            places = {wording: folder / wording / f"part-{number:03d}" for wording in wordings}
            missing = {wording: place for wording, place in places.items() if not _finished(place, made_by, part)}
            if missing:
                clips = list(_encoded(pool, maker, world, part, missing, bar))
            for wording, place in missing.items():
                _write_part(place, (clip[wording] for clip in clips), made_by, part)
            if not missing:
                bar.update(len(part))


def prompt_of(clip: PuppetClip, wording: str) -> StructuredPrompt:
    """The clip's prompt in one of the `WORDINGS`."""
    return {"structured": clip.prompt, "global": clip.global_prompt, "brief": clip.brief}[wording]


def draw(world: World, seeds: Iterable[int]) -> Iterator[PuppetClip]:
    """The clips of `seeds` in order, drawn in as many processes as there are cores."""
    with _pool() as pool:
        yield from _in_order(pool, world, seeds)


def drawn_windows(
    world: World, frames: int, per_clip: int, seed: int
) -> Iterator[UInt8[np.ndarray, "{frames} side side 3"]]:
    """`per_clip` windows of `frames` frames out of one new clip after the other: what a VAE is trained on."""
    rng = np.random.default_rng(seed)
    for clip in draw(world, TRAIN_SEEDS):
        for start in rng.integers(0, len(clip.frames) - frames + 1, per_clip):
            yield clip.frames[start : start + frames]


# ---- parts


def _encoded(pool, maker: RecordMaker, world: World, part: range, wordings: Iterable[str], bar: tqdm):
    """{wording: serialized record} of every clip."""
    for seed, clip in zip(part, _in_order(pool, world, part), strict=True):
        record = maker(f"puppet-{seed}", 0, clip.frames, clip.audio, clip.prompt)
        yield {w: serialize_record(record | maker.encode_text(prompt_of(clip, w))) for w in wordings}
        bar.update()


def _write_part(place: Path, made: Iterator[bytes], made_by: dict, part: range) -> None:
    with replaced_folder(place) as partial:
        write_dataset(partial, made, len(part), len(part), made_by | {"seeds": repr(part)})


def _finished(place: Path, made_by: dict, part: range) -> bool:
    if not place.is_dir():
        return False
    stored = open_dataset(place).metadata
    differing = [key for key, value in (made_by | {"seeds": repr(part)}).items() if stored.get(key) != value]
    if differing:
        raise InputError(f"{place}: made with other {', '.join(differing)}; give an empty folder")
    return True


def _in_order(pool: ProcessPoolExecutor, world: World, seeds: Iterable[int]) -> Iterator[PuppetClip]:
    """Draws a few clips ahead of the one that is asked for."""
    seeds, ahead = iter(seeds), 4 * os.cpu_count()
    waiting = [pool.submit(make_clip, seed, world) for seed in islice(seeds, ahead)]
    while waiting:
        yield waiting.pop(0).result()
        waiting += [pool.submit(make_clip, seed, world) for seed in islice(seeds, 1)]


def _pool() -> ProcessPoolExecutor:
    # Spawned: a fork of a process in which jax runs may hang.
    return ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn"))


def _known(wording: str) -> str:
    if wording not in WORDINGS:
        raise InputError(f'puppet prompts have no wording "{wording}"; there are: {", ".join(WORDINGS)}')
    return wording
