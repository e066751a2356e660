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
from actavatar_jax.puppets.world.regions import talking_boxes
from actavatar_jax.puppets.world.script import tell_in_order
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
TEXTS = {  # names of shards: the wording of their prompts, and whether texts have anchors; without windows none differ
    "structured": ("structured", True),
    "bare": ("structured", False),
    "global": ("global", None),
    "brief": ("brief", None),
}
PART = 512  # clips that are encoded, or lost to a kill, together
# A seed is a presenter, a sentence and a script. Judges have seeds of their own above these.
TEST_SEED, WATCHED_SEEDS = 0, range(1_000, 2_000)  # never trained on: for scores, and for looking on while training
TRAIN_SEEDS, DECODER_SEEDS = range(10_000, 2_000_000_000), range(2_000_000_000, 3_000_000_000)


class PuppetSource:
    """Random access to records of clips that are drawn in other processes when they are asked for.

    Record i is the clip of seed `seeds[i]`, the same every time, so a loader's place is exact without any storage.
    """

    def __init__(
        self, encoders: FrozenEncoders, world: World, seeds: range, wording: str = "structured", anchors: bool = True
    ):
        self.world, self.seeds, self.wording = world, seeds, _known(wording)
        self.make_record = RecordMaker(encoders, anchors)
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


def open_source(config: Any, anchors: bool, **options: Any) -> tuple[grain.IterDataset, int]:
    """Batches that are drawn as the settings of a training say, and how many there are before a clip comes again.

    `anchors`: whether the texts that the model reads have them.
    """
    encoders, d = Encoders.from_folder(config.model.folder), config.data
    source = PuppetSource(encoders, World(**d.world), TRAIN_SEEDS, d.wording, anchors)
    return make_puppet_loader(source, **options), len(source)


SOURCES = {"puppets": open_source}  # for `runs.training.run_training`


def texts_of(wording: str, anchors: bool) -> str:
    """The one of `TEXTS` for a model that reads texts with anchors, or without."""
    return next(name for name, text in TEXTS.items() if text in ((wording, anchors), (wording, None)))


def write_shards(folder: Path, encoders: FrozenEncoders, world: World, seeds: range, texts: Iterable[str]) -> None:
    """Draws and encodes the clips of `seeds` once, into `folder/<name of TEXTS>/part-<n>`; finished parts are kept.

    The texts share pictures and sound. Raises InputError if the folder holds parts of other encoders or worlds.
    """
    makers = {name: RecordMaker(encoders, anchors=bool(TEXTS[name][1])) for name in texts}
    made_by = describe_records(encoders, world.frames) | {
        "world": repr(world),
        "empty_prompt": RecordMaker(encoders).encode_empty_prompt().to_dict(),
    }
    made_by = {name: made_by | {"anchors": TEXTS[name][1]} for name in makers}
    parts = [seeds[first : first + PART] for first in range(0, len(seeds), PART)]
    with tqdm(total=len(seeds), desc="puppets", unit="clip") as bar, _pool() as pool:
        for number, part in enumerate(parts):
            places = {name: folder / name / f"part-{number:03d}" for name in makers}
            missing = {name: place for name, place in places.items() if not _finished(place, made_by[name], part)}
            if missing:
                clips = list(_encoded(pool, {name: makers[name] for name in missing}, world, part, bar))
            for name, place in missing.items():
                _write_part(place, (clip[name] for clip in clips), made_by[name], part)
            if not missing:
                bar.update(len(part))


def prompt_of(clip: PuppetClip, wording: str) -> StructuredPrompt:
    """The clip's prompt in one of the `WORDINGS`."""
    return worded(clip.prompt, wording)


def worded(prompt: StructuredPrompt, wording: str) -> StructuredPrompt:
    """A structured prompt in one of the `WORDINGS`."""
    return {"structured": prompt, "global": tell_in_order(prompt), "brief": StructuredPrompt(prompt.base)}[wording]


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


def _encoded(pool, makers: dict[str, RecordMaker], world: World, part: range, bar: tqdm):
    """{name of TEXTS: serialized record} of every clip."""
    shared, *_ = makers.values()
    for seed, clip in zip(part, _in_order(pool, world, part), strict=True):
        mouths = talking_boxes(clip)  # for EchoMimicV3, which replaces them
        record = shared(f"puppet-{seed}", 0, clip.frames, clip.audio, clip.prompt, mouths)
        told = {name: maker.encode_text(prompt_of(clip, TEXTS[name][0])) for name, maker in makers.items()}
        yield {name: serialize_record(record | text) for name, text in told.items()}
        bar.update()


def _write_part(place: Path, made: Iterator[bytes], made_by: dict, part: range) -> None:
    with replaced_folder(place) as partial:
        write_dataset(partial, made, len(part), len(part), made_by | {"seeds": repr(part)})


def _finished(place: Path, made_by: dict, part: range) -> bool:
    if not place.is_dir():
        return False
    stored = open_dataset(place).metadata
    wanted = made_by | {"seeds": repr(part)}
    # Parts from before `anchors` was written down lack it, and are as they were.
    differing = [key for key, value in wanted.items() if stored.get(key, value) != value]
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
