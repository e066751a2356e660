"""The same batches whenever they are gone through: what a held-out loss is measured on."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from actavatar_jax.storage import Place
from data_pipelines.loading.loader import make_loader
from data_pipelines.loading.tasks import FIRST, DrawTask
from data_pipelines.loading.transforms import Batch, FitShapes
from data_pipelines.shards import find_datasets, open_dataset


class FixedBatches:
    """Up to `clips` of the encoded clips in `shard_dirs`, evenly spread over them, with their whole conditions.

    A batch has the entries of a batch of `make_loader`, of which `index` is the number among these clips, and `weight`
    [b] float32: 1, or 0 where a clip is there again only to fill the last batch of its bucket. `rows` are the samples
    of a batch that this process reads (`parallel.batches.local_rows`; None: all). InputError, and `anchors`, as
    of `make_loader`; with `tasks`, whatever they are, the first frame is known.
    """

    def __init__(
        self,
        shard_dirs: Sequence[str | Place],
        *,
        clips: int,
        batch_size: int,
        text_len: int,
        max_phases: int,
        anchors: bool | None = None,
        rows: Sequence[int] | None = None,
        tasks: Mapping[str, float] | None = None,
    ):
        # Refuses what does not belong together.
        make_loader(shard_dirs, batch_size=1, seed=0, anchors=anchors, tasks=tasks)
        self.task = None if tasks is None else DrawTask(FIRST)
        self.datasets = [open_dataset(folder) for folder in find_datasets(shard_dirs)]
        self.fit = [FitShapes(dataset.empty_prompt, text_len, max_phases) for dataset in self.datasets]
        self.rows = range(batch_size) if rows is None else rows
        self.batches = self._cut(clips, batch_size)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        for dataset, numbers in self.batches:
            samples = [self._read(dataset, numbers, row) for row in self.rows]
            yield {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}

    @property
    def grids(self) -> set[tuple[int, int, int]]:
        """Latent (T, H, W) of the buckets."""
        return {tuple(dataset.source[0]["latents"].shape[:3]) for dataset in self.datasets}

    def _cut(self, clips: int, batch_size: int) -> list[tuple[int, list[tuple[int, int]]]]:
        """For each batch the number of its dataset, and of its clips their number and place in that dataset."""
        places = [(n, i) for n, dataset in enumerate(self.datasets) for i in range(len(dataset.source))]
        count = min(clips, len(places))
        chosen = [(number, *places[number * len(places) // count]) for number in range(count)]
        batches = []
        for dataset in range(len(self.datasets)):
            inside = [(number, place) for number, owner, place in chosen if owner == dataset]
            batches += [(dataset, inside[first : first + batch_size]) for first in range(0, len(inside), batch_size)]
        return batches

    def _read(self, dataset: int, clips: list[tuple[int, int]], row: int) -> Batch:
        number, place = clips[min(row, len(clips) - 1)]
        record = self.datasets[dataset].source[place] | {"index": np.int64(number)}
        record = record if self.task is None else self.task.random_map(record, np.random.default_rng(number))
        return self.fit[dataset].map(record) | {"weight": np.float32(row < len(clips))}
