"""Records -> an endless stream of draws -> batches, whatever the records come from."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grain
import numpy as np

from actavatar_jax.errors import InputError
from data_pipelines.loading.tasks import DrawTask
from data_pipelines.loading.transforms import DropConditions, FitShapes, NumberDraws, TakeRows

READ_OPTIONS = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)  # in batches; grain's own would fill the memory


@dataclass(frozen=True)
class Stream:
    """How records become batches, whatever the source."""

    batch_size: int
    seed: int
    drop: tuple[float, float, float]  # text, audio, both
    shuffle: bool = True
    repeat: bool = True
    rows: Sequence[int] | None = None  # of each batch, ascending; None: all
    tasks: Mapping[str, float] | None = None  # shares of the tasks, of records that hold some

    def __post_init__(self):
        if min(self.drop) < 0 or sum(self.drop) > 1:
            raise InputError(f"condition dropout {self.drop}: each must be at least 0 and their sum at most 1")
        if self.batch_size < 1:
            raise InputError(f"batch size {self.batch_size}: it must be at least 1")

    def make_batches(
        self,
        sources: Sequence[Any],
        fit: Sequence[FitShapes],
        read: grain.ReadOptions = READ_OPTIONS,
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
        self, bucket: int, bucket_count: int, sources: Sequence[Any], weights: Sequence[float] | None, fit: FitShapes
    ) -> grain.MapDataset:
        # Own seed and own numbers per bucket: equal positions of two buckets share neither dropout nor index.
        seed = _seed(self.seed, bucket)
        parts = [grain.MapDataset.source(source) for source in sources]
        if weights is None:
            draws = self._order(grain.MapDataset.concatenate(parts), seed)
        else:
            ordered = [self._order(part, _seed(self.seed, bucket, place)) for place, part in enumerate(parts)]
            draws = grain.MapDataset.mix(ordered, weights=weights).seed(seed)
        draws = draws.map_with_index(NumberDraws(bucket, bucket_count))
        draws = draws if self.tasks is None else draws.random_map(DrawTask(self.tasks))
        draws = draws.map(fit).random_map(DropConditions(fit, *self.drop))
        if self.rows is None:
            return draws.batch(self.batch_size, drop_remainder=self.repeat)
        return TakeRows(draws, self.rows, self.batch_size).batch(len(self.rows), drop_remainder=self.repeat)

    def _order(self, records: grain.MapDataset, seed: int) -> grain.MapDataset:
        records = records.seed(seed)
        if self.shuffle:
            records = records.shuffle()
        return records.repeat() if self.repeat else records


def _seed(*entropy: int) -> int:
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])
