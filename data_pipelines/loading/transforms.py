"""What happens to records on their way into a batch, in this order: numbered, fitted, dropped from, chosen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grain
import numpy as np

from actavatar_jax.errors import InputError
from data_pipelines.shards import EmptyPrompt, Record

Batch = dict[str, np.ndarray]


@dataclass(frozen=True)
class NumberDraws(grain.transforms.MapWithIndex):
    """Gives a draw its number, unique over all buckets."""

    bucket: int
    bucket_count: int

    def map_with_index(self, index: int, element: Record) -> Record:
        return element | {"index": np.int64(index * self.bucket_count + self.bucket)}


@dataclass(frozen=True, eq=False)
class FitShapes(grain.transforms.Map):
    """Brings a record to fixed shapes: text to `text_len` tokens, windows to `max_phases` rows."""

    empty_prompt: EmptyPrompt
    text_len: int
    max_phases: int

    def map(self, element: Record) -> Batch:
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
            **{name: element[name] for name in ("picture", "known", "rejected", "regions") if name in element},
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
class DropConditions(grain.transforms.RandomMap):
    """Condition dropout for guidance: one categorical draw per sample (text, audio, both or nothing)."""

    fit: FitShapes
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


class TakeRows(grain.MapDataset):
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


def _without_audio(sample: Batch) -> Batch:
    return sample | {"audio": np.zeros_like(sample["audio"])}


def _pad(rows: np.ndarray, length: int, value: int) -> np.ndarray:
    """`rows` with rows of `value` below, `length` in all."""
    padded = np.full((length, *rows.shape[1:]), value, rows.dtype)
    padded[: len(rows)] = rows
    return padded
