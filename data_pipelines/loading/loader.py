"""Encoded shards -> training batches: a grain dataset whose position is one small, exact state.

One endless stream of draws is fixed by the seed alone: order, condition dropout and `index` of draw i do not depend on
the batch size or on the number of processes. Batch k is its draws from k times the batch size on, and each process
reads its own rows of every batch; the position is the number of batches, the same in every process, so that a run goes
on with the same data on any number of them. Corpora are merged here, by weights, and not on disk.
"""

import math
from collections.abc import Mapping, Sequence

import grain

from actavatar_jax.errors import InputError
from actavatar_jax.heap import keep_memory_of_records
from actavatar_jax.media.clock import FPS
from actavatar_jax.storage import Place, named, open_place, refusal
from data_pipelines.loading.stream import Stream
from data_pipelines.loading.transforms import FitShapes
from data_pipelines.shards import (
    ACTAVATAR,
    ECHOMIMIC,
    LATENT_LAYOUT,
    SCHEMA_VERSION,
    EncodedDataset,
    find_datasets,
    open_dataset,
)

_OTHER_TEXTS = {  # by the anchors that are wanted
    True: "their texts are bare, and a phase_time with paper reads anchors (encode --anchors)",
    False: "their texts have anchors, and a phase_time without paper reads bare ones (encode --no-anchors)",
}


def make_loader(
    shard_dirs: Sequence[str | Place] | str | Place,
    *,
    batch_size: int,
    seed: int,
    text_drop: float = 0.1,
    audio_drop: float = 0.1,
    both_drop: float = 0.05,
    shuffle: bool = True,
    fingerprint: Mapping[str, str] | None = None,
    anchors: bool | None = None,
    text_len: int = 512,
    max_phases: int = 8,
    rows: Sequence[int] | None = None,
    repeat: bool = True,
    weights: Mapping[str | Place, float | int] | None = None,
    tasks: Mapping[str, float] | None = None,
) -> grain.IterDataset:
    """Batches of the encoded clips in `shard_dirs`: bucket folders, or folders of them, on disks or object stores.

    Every batch comes from one bucket; buckets take turns by their number of records. With `weights`, a positive number
    for each of `shard_dirs`, the folders' shares of all draws are as these numbers instead; within a folder its
    buckets keep their shares. Folders that have a bucket in common share its batches. `batch_size` counts the samples
    of all processes together; this process yields the b samples `rows` of them (`parallel.batches.local_rows`;
    default: all), as numpy arrays:

    * latents [b, T, H, W, C] bfloat16
    * text [b, text_len, D] bfloat16, zero-padded; phase_ids [b, text_len] int32, -1 where padded
    * phase_windows [b, max_phases, 2] float32, seconds, zero rows unused
    * audio [b, F, layers, E] float16
    * index [b] int64, the number of the draw, unique in the stream
    * with `tasks`, the shares of `tasks.DrawTask`: of shards for EchoMimicV3 also picture [b, I, D] and known
      [b, T, H, W, 4 + C], both bfloat16; audio is as its encoder gives it

    With these probabilities a sample loses its text (the encoded empty prompt takes its place), its audio (zeros) or
    both: one categorical draw per sample. `repeat=False` gives every record once, in a last batch that may be smaller.

    `iter(loader)` has `get_state` and `set_state`. Raises InputError before any record is read if the shards are of
    another schema, layout, system or frame rate, made with other encoders than `fingerprint` names, or with other texts
    than `anchors` says: with labels and anchors, or bare (without these: than the first of them).
    """
    keep_memory_of_records()
    folders = [open_place(folder) for folder in ([shard_dirs] if isinstance(shard_dirs, str | Place) else shard_dirs)]
    datasets = [open_dataset(folder) for folder in find_datasets(folders)]
    check_datasets(datasets, fingerprint, anchors, ACTAVATAR if tasks is None else ECHOMIMIC)
    stream = Stream(batch_size, seed, (text_drop, audio_drop, both_drop), shuffle, repeat, rows, tasks)
    fit = [FitShapes(dataset.empty_prompt, text_len, max_phases) for dataset in datasets]
    buckets = [dataset.source[0]["latents"].shape for dataset in datasets]
    shares = None if weights is None else _shares(folders, datasets, weights)
    return stream.make_batches([dataset.source for dataset in datasets], fit, buckets=buckets, weights=shares)


def _shares(
    folders: Sequence[Place], datasets: Sequence[EncodedDataset], weights: Mapping[str | Place, float | int]
) -> list[float]:
    """Of each dataset: its folder's weight, split among the folder's datasets by their number of records."""
    given = {open_place(folder).resolve(): float(weight) for folder, weight in weights.items()}
    if given.keys() != {folder.resolve() for folder in folders}:
        raise InputError(
            f"weights are for {', '.join(map(str, weights))}; give one for each of {', '.join(map(str, folders))}"
        )
    if not all(weight > 0 and math.isfinite(weight) for weight in given.values()):
        raise InputError(f"weights {list(given.values())}: each must be a positive number; leave out unwanted folders")
    inside = {folder: set(find_datasets([folder])) for folder in given}
    shares = []
    for dataset in datasets:
        owners = [folder for folder, found in inside.items() if dataset.folder in found]
        if len(owners) > 1:
            raise InputError(f"{dataset.folder} is inside {owners[0]} and {owners[1]}: which weight it has is unclear")
        records = sum(len(other.source) for other in datasets if other.folder in inside[owners[0]])
        shares.append(given[owners[0]] * len(dataset.source) / records)
    return shares


def check_datasets(
    datasets: Sequence[EncodedDataset],
    fingerprint: Mapping[str, str] | None,
    anchors: bool | None,
    system: str = ACTAVATAR,
) -> None:
    """InputError for datasets that do not belong together, see `make_loader`."""
    wanted = {"schema": SCHEMA_VERSION, "layout": LATENT_LAYOUT, "fps": FPS}
    encoders = fingerprint or datasets[0].metadata["encoders"]
    if anchors is None:
        anchors = next((dataset.anchors for dataset in datasets if dataset.anchors is not None), None)
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
        if dataset.system != system:
            faults.append(f"they are made for {dataset.system}, not for {system}")
        if dataset.anchors not in (anchors, None):
            faults.append(_OTHER_TEXTS[anchors])
        if faults:
            raise refusal(f"shards {named(dataset.folder)} do not fit, encode the clips again:", faults)
