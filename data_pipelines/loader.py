"""Encoded shards -> training batches: a grain dataset whose position is one small, exact state.

One endless stream of draws is fixed by the seed alone: order, condition dropout and `index` of draw i do not depend on
the batch size or on the number of processes. Batch k is its draws from k times the batch size on, and each process
reads its own rows of every batch; the position is the number of batches, the same in every process, so that a run goes
on with the same data on any number of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grain
import numpy as np

from actavatar_jax.errors import InputError
from actavatar_jax.media.clock import FPS
from data_pipelines import shards

Batch = dict[str, np.ndarray]
READ = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)  # in batches; grain's own defaults fill the memory


def make_loader(
    shard_dirs: Sequence[str | Path] | str | Path,
    *,
    batch_size: int,
    seed: int,
    text_drop: float = 0.1,
    audio_drop: float = 0.1,
    both_drop: float = 0.05,
    shuffle: bool = True,
    fingerprint: Mapping[str, str] | None = None,
    text_len: int = 512,
    max_phases: int = 8,
    rows: Sequence[int] | None = None,
    repeat: bool = True,
) -> grain.IterDataset:
    """Batches of the encoded clips in `shard_dirs` (bucket folders, or folders of them).

    Every batch comes from one bucket; buckets take turns by their number of records. `batch_size` counts the samples of
    all processes together; this process yields the b samples `rows` of them (`parallel.batches.local_rows`; default:
    all), as numpy arrays:

    * latents [b, T, H, W, C] bfloat16
    * text [b, text_len, D] bfloat16, zero-padded; phase_ids [b, text_len] int32, -1 where padded
    * phase_windows [b, max_phases, 2] float32, seconds, zero rows unused
    * audio [b, F, layers, E] float16
    * index [b] int64, the number of the draw, unique in the stream

    With these probabilities a sample loses its text (the encoded empty prompt takes its place), its audio (zeros) or
    both: one categorical draw per sample. `repeat=False` gives every record once, in a last batch that may be smaller.

    `iter(loader)` has `get_state` and `set_state`. Raises InputError before any record is read if the shards are of
    another schema, layout or frame rate, or made with other encoders than `fingerprint` names (without it: than the
    first of them).
    """
    folders = [shard_dirs] if isinstance(shard_dirs, str | Path) else shard_dirs
    datasets = [shards.open_dataset(folder) for folder in shards.find_datasets([Path(folder) for folder in folders])]
    _check(datasets, fingerprint)
    stream = Stream(batch_size, seed, (text_drop, audio_drop, both_drop), shuffle, repeat, rows)
    fit = [Fit(dataset.empty_prompt, text_len, max_phases) for dataset in datasets]
    return stream.batches([dataset.source for dataset in datasets], fit)


def _check(datasets: Sequence[shards.EncodedDataset], fingerprint: Mapping[str, str] | None) -> None:
    wanted = {"schema": shards.SCHEMA, "layout": shards.LAYOUT, "fps": FPS}
    encoders = fingerprint or datasets[0].metadata["encoders"]
    for dataset in datasets:
        stored = dataset.metadata
        faults = [
            f"{key} is {stored.get(key)}, not {value}" for key, value in wanted.items() if stored.get(key) != value
        ]
        faults += [
            f"the {part} that made them is {stored['encoders'].get(part)}, not {value}"
            for part, value in encoders.items()
            if stored.get("encoders", {}).get(part) != value
        ]
        if faults:
            raise InputError(f"shards {dataset.folder} do not fit: {'; '.join(faults)}; encode the clips again")


@dataclass(frozen=True)
class Stream:
    """How records become batches, whatever the source."""

    batch_size: int
    seed: int
    drop: tuple[float, float, float]  # text, audio, both
    shuffle: bool = True
    repeat: bool = True
    rows: Sequence[int] | None = None  # of each batch, ascending; None: all

    def __post_init__(self):
        if min(self.drop) < 0 or sum(self.drop) > 1:
            raise InputError(f"condition dropout {self.drop}: each must be at least 0 and their sum at most 1")
        if self.batch_size < 1:
            raise InputError(f"batch size {self.batch_size}: it must be at least 1")

    def batches(
        self, sources: Sequence[Any], fit: Sequence["Fit"], read: grain.ReadOptions = READ
    ) -> grain.IterDataset:
        """Mixes the sources (one per bucket) batch by batch, weighted by their number of records."""
        buckets = [self._bucket(k, len(sources), source, fit[k]) for k, source in enumerate(sources)]
        if self.repeat:
            batches = grain.MapDataset.mix(buckets, weights=[len(source) for source in sources])
        else:
            batches = grain.MapDataset.concatenate(buckets)
        return batches.to_iter_dataset(read)

    def _bucket(self, bucket: int, bucket_count: int, source: Any, fit: "Fit") -> grain.MapDataset:
        # Own seed and own numbers per bucket: equal positions of two buckets share neither dropout nor index.
        seed = int(np.random.SeedSequence([self.seed, bucket]).generate_state(1)[0])
        draws = grain.MapDataset.source(source).seed(seed)
        if self.shuffle:
            draws = draws.shuffle()
        if self.repeat:
            draws = draws.repeat()
        draws = draws.map_with_index(Number(bucket, bucket_count)).map(fit).random_map(Drop(fit, *self.drop))
        if self.rows is None:
            return draws.batch(self.batch_size, drop_remainder=self.repeat)
        return Rows(draws, self.rows, self.batch_size).batch(len(self.rows), drop_remainder=self.repeat)


# ---- steps of the pipeline, in order


class Rows(grain.MapDataset):
    """Of every `batch_size` elements in a row those at `rows`; the others are never made."""

    def __init__(self, parent: grain.MapDataset, rows: Sequence[int], batch_size: int):
        super().__init__(parent)
        self.rows, self.batch_size = [int(row) for row in rows], batch_size

    def __len__(self) -> int:
        batches, rest = divmod(len(self._parent), self.batch_size)
        return batches * len(self.rows) + sum(row < rest for row in self.rows)

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return self.slice(index)
        batch, place = divmod(index, len(self.rows))
        return self._parent[batch * self.batch_size + self.rows[place]]


@dataclass(frozen=True)
class Number(grain.transforms.MapWithIndex):
    """Gives a draw its number, unique over all buckets."""

    bucket: int
    bucket_count: int

    def map_with_index(self, index: int, element: shards.Record) -> shards.Record:
        return element | {"index": np.int64(index * self.bucket_count + self.bucket)}


@dataclass(frozen=True, eq=False)
class Fit(grain.transforms.Map):
    """Brings a record to fixed shapes: text to `text_len` tokens, windows to `max_phases` rows."""

    empty_prompt: shards.EmptyPrompt
    text_len: int
    max_phases: int

    def map(self, element: shards.Record) -> Batch:
        if len(element["text_embeds"]) > self.text_len or len(element["phase_windows"]) > self.max_phases:
            raise InputError(
                f"clip {element['clip']}: {len(element['text_embeds'])} text tokens and "
                f"{len(element['phase_windows'])} phases, at most {self.text_len} and {self.max_phases} fit"
            )
        return {
            "latents": element["latents"],
            "text": _pad(element["text_embeds"], self.text_len, 0),
            "phase_ids": _pad(element["phase_ids"].astype(np.int32), self.text_len, -1),
            "phase_windows": _pad(element["phase_windows"], self.max_phases, 0),
            "audio": element["audio_feats"],
            "index": element["index"],
        }

    def without_text(self, sample: Batch) -> Batch:
        """The sample with the empty prompt: base tokens only, no phases."""
        embeds = self.empty_prompt.embeds
        return sample | {
            "text": _pad(embeds, self.text_len, 0),
            "phase_ids": _pad(np.zeros(len(embeds), np.int32), self.text_len, -1),
            "phase_windows": np.zeros_like(sample["phase_windows"]),
        }


@dataclass(frozen=True, eq=False)
class Drop(grain.transforms.RandomMap):
    """Condition dropout for guidance: one categorical draw per sample (text, audio, both or nothing)."""

    fit: Fit
    text: float
    audio: float
    both: float

    def random_map(self, element: Batch, rng: np.random.Generator) -> Batch:
        edges = np.cumsum([self.text, self.audio, self.both])
        match int(np.searchsorted(edges, rng.random(), side="right")):
            case 0:
                return self.fit.without_text(element)
            case 1:
                return _without_audio(element)
            case 2:
                return _without_audio(self.fit.without_text(element))
            case _:
                return element


def _without_audio(sample: Batch) -> Batch:
    return sample | {"audio": np.zeros_like(sample["audio"])}


def _pad(rows: np.ndarray, length: int, value: int) -> np.ndarray:
    """`rows` with rows of `value` below, `length` in all."""
    padded = np.full((length, *rows.shape[1:]), value, rows.dtype)
    padded[: len(rows)] = rows
    return padded
