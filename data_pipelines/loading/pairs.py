"""Pairs of videos of the same conditions, of which one was preferred: two folders of shards, record by record.

<folder>/preferred/<bucket>/   as `encode` and `preferences make` write them
        /rejected/<bucket>/    the same clips in the same order, but for their latents
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grain
import numpy as np

from actavatar_jax.errors import InputError
from actavatar_jax.storage import Place, named, open_place
from data_pipelines.loading.loader import check_datasets
from data_pipelines.loading.stream import Stream
from data_pipelines.loading.transforms import FitShapes
from data_pipelines.shards import ACTAVATAR, ECHOMIMIC, EncodedDataset, Record, find_datasets, open_dataset

HALVES = ("preferred", "rejected")
SHARED = ("clip", "start", "text_tokens", "phase_ids", "phase_windows", "audio_feats")
SHARED += ("picture", "tasks", "known", "regions")  # where they have any


@dataclass(frozen=True)
class Pairs:
    """Records of the preferred videos, each with `rejected`, the latents of the other one."""

    preferred: EncodedDataset
    rejected: EncodedDataset

    def __post_init__(self):
        lengths = [len(half.source) for half in (self.preferred, self.rejected)]
        if lengths[0] != lengths[1]:
            raise InputError(
                f"{named(self.preferred.folder)} has {lengths[0]} clips, and {named(self.rejected.folder)} "
                f"{lengths[1]}; pairs are record by record."
            )

    def __len__(self) -> int:
        return len(self.preferred.source)

    def __getitem__(self, index: int) -> Record:
        record, other = self.preferred.source[index], self.rejected.source[index]
        for name in [name for name in SHARED if name in record]:
            if not np.array_equal(record[name], other[name]):
                raise InputError(
                    f"Pair {index} of {named(self.preferred.folder.parent.parent)} has another {name} in each half; "
                    "pairs are of the same conditions."
                )
        if record["latents"].shape != other["latents"].shape:
            raise InputError(f"Pair {index} of {named(self.preferred.folder.parent.parent)} is of two sizes.")
        return record | {"rejected": other["latents"]}


def make_pair_loader(
    folder: str | Place,
    *,
    batch_size: int,
    seed: int,
    fingerprint: Mapping[str, str] | None = None,
    anchors: bool | None = None,
    text_len: int = 512,
    max_phases: int = 8,
    rows: Sequence[int] | None = None,
    tasks: Mapping[str, float] | None = None,
    regions: bool = False,
) -> grain.IterDataset:
    """Endless batches as `make_loader`'s, with `rejected` beside `latents`, and whole conditions.

    `regions`: the records have to say where hands and faces are.

    Raises InputError where the halves do not belong together, for records without regions that are to have them, and
    as `make_loader`.
    """
    halves = [_open(open_place(folder) / half) for half in HALVES]
    if halves[0].keys() != halves[1].keys():
        odd = sorted(halves[0].keys() ^ halves[1].keys())[0]
        raise InputError(f"{named(folder)} has the bucket {odd} in one half only; pairs are of one size.")
    if regions and not all(dataset.metadata.get("regions") for half in halves for dataset in half.values()):
        raise InputError(
            f"The pairs in {named(folder)} do not say where hands and faces are, which preference.region_weight asks "
            "for; make them with --models."
        )
    system = ACTAVATAR if tasks is None else ECHOMIMIC
    check_datasets([dataset for half in halves for dataset in half.values()], fingerprint, anchors, system)
    pairs = [Pairs(halves[0][bucket], halves[1][bucket]) for bucket in sorted(halves[0])]
    fit = [FitShapes(one.preferred.empty_prompt, text_len, max_phases) for one in pairs]
    return Stream(batch_size, seed, (0.0, 0.0, 0.0), rows=rows, tasks=tasks).make_batches(pairs, fit)


def _open(half: Place) -> dict[str, EncodedDataset]:
    """By bucket."""
    found: dict[str, Any] = {folder.name: open_dataset(folder) for folder in find_datasets([half])}
    return found
