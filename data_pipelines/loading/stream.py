"""Records -> an endless stream of draws -> batches, whatever the records come from."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import grain
import numpy as np

from actavatar_jax.errors import InputError
from data_pipelines.shards import dataset as shards

Batch = dict[str, np.ndarray]
READ = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)  # in batches; grain's own defaults fill the memory


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
        self,
        sources: Sequence[Any],
        fit: Sequence["Fit"],
        read: grain.ReadOptions = READ,
        *,
        buckets: Sequence[Hashable] | None = None,
        weights: Sequence[float] | None = None,
    ) -> grain.IterDataset:
        """Batches of one bucket each; the buckets take turns.

        buckets: which bucket each source belongs to; default: each its own. weights: the sources' shares of all draws.
        Without them the sources of a bucket are as one: an epoch holds each record once.
        """
        if weights is not None and not self.repeat:
            raise InputError("weights are for an endless stream; repeat=False gives every record once")
        groups: dict[Hashable, list[int]] = {}
        for number, bucket in enumerate(range(len(sources)) if buckets is None else buckets):
            groups.setdefault(bucket, []).append(number)
        shares = [len(source) for source in sources] if weights is None else weights
        parts = []
        for place, group in enumerate(groups.values()):
            inside = None if weights is None else [weights[n] for n in group]
            parts.append(self._bucket(place, len(groups), [sources[n] for n in group], inside, fit[group[0]]))
        if self.repeat:
            batches = grain.MapDataset.mix(parts, weights=[sum(shares[n] for n in group) for group in groups.values()])
        else:
            batches = grain.MapDataset.concatenate(parts)
        return batches.to_iter_dataset(read)

    def _bucket(
        self, bucket: int, bucket_count: int, sources: Sequence[Any], weights: Sequence[float] | None, fit: "Fit"
    ) -> grain.MapDataset:
        # Own seed and own numbers per bucket: equal positions of two buckets share neither dropout nor index.
        seed = _seed(self.seed, bucket)
        parts = [grain.MapDataset.source(source) for source in sources]
        if weights is None:
            draws = self._order(grain.MapDataset.concatenate(parts), seed)
        else:
            ordered = [self._order(part, _seed(self.seed, bucket, place)) for place, part in enumerate(parts)]
            draws = grain.MapDataset.mix(ordered, weights=weights).seed(seed)
        draws = draws.map_with_index(Number(bucket, bucket_count)).map(fit).random_map(Drop(fit, *self.drop))
        if self.rows is None:
            return draws.batch(self.batch_size, drop_remainder=self.repeat)
        return Rows(draws, self.rows, self.batch_size).batch(len(self.rows), drop_remainder=self.repeat)

    def _order(self, records: grain.MapDataset, seed: int) -> grain.MapDataset:
        records = records.seed(seed)
        if self.shuffle:
            records = records.shuffle()
        return records.repeat() if self.repeat else records


def _seed(*entropy: int) -> int:
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


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
