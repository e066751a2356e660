"""The page about a shard folder: what the datasets hold and what made them, with a look at some records."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from actavatar_jax.charts import draw_timeline, encode_thumbnail
from actavatar_jax.storage import read_json
from data_pipelines.pages.page import SHOWN_AT, Page, format_duration, pick_spread
from data_pipelines.shards import EncodedDataset, Record, list_shards, open_dataset, read_index

MADE_WITH = (
    *("schema", "layout", "latents", "fps", "anchors", "stage", "split", "stride_frames", "records_per_shard"),
    *("world", "most_phases"),
)

LARGEST_REPORT = 2**30  # bytes


@dataclass(frozen=True)
class _Outcome:
    reason: str


@dataclass(frozen=True)
class _Report:
    """What is used of `report.json`."""

    skipped: list[_Outcome]


def is_shard_folder(folder: Path) -> bool:
    return bool(_find_all(folder))


def make_shard_page(folder: Path, samples: int) -> Page:
    page = Page(f"Encoded clips in {folder}")
    names = {path: str(path.relative_to(folder)) if path != folder else path.name for path in _find_all(folder)}
    datasets = {name: open_dataset(path) for path, name in names.items()}
    rows, records, seconds, size, enlargements = [], 0, 0.0, 0, []
    for name, dataset in datasets.items():
        count, paths = len(dataset.source), list_shards(dataset.folder)
        lasting, stored = count * _seconds(dataset), sum(path.stat().st_size for path in paths)
        index = read_index(dataset.folder) if (dataset.folder / "index.json").is_file() else None
        clips, latents = "" if index is None else f"{len(index):,}", " x ".join(map(str, _latent_shape(dataset)))
        enlargements += [row.enlargement for row in index or ()]
        length = format_duration(lasting)
        rows.append([name, f"{count:,}", clips, length, f"{len(paths):,}", _bytes(stored), latents])
        records, seconds, size = records + count, seconds + lasting, size + stored
    page.tiles = [
        ("datasets", f"{len(datasets):,}"),
        ("records", f"{records:,}"),
        ("length", format_duration(seconds)),
        ("on disk", _bytes(size)),
    ]
    columns = ["dataset", "records", "clips", "length", "shards", "size", "latents T x H x W x C"]
    page.add_table("Datasets", columns, rows)
    page.add_table("Made with", ["", ""], _made_with([dataset.metadata for dataset in datasets.values()]))
    _add_report(page, folder / "report.json")
    page.add_chart("enlargement of the clips", enlargements)
    _add_samples(page, datasets, samples)
    return page


def _find_all(folder: Path) -> list[Path]:
    """The datasets here and up to three folders below: of `encode` one per bucket, of puppets one per text and part, of
    pairs one per half and bucket."""
    found = {path.parent for levels in range(4) for path in folder.glob("*/" * levels + "dataset_info.json")}
    inside = {path: path.relative_to(folder).parts for path in found}
    return sorted(path for path, parts in inside.items() if not any(_is_passing(name) for name in parts))


def _is_passing(name: str) -> bool:
    """Whether a folder is one of an unfinished or killed run."""
    return name.startswith(".") or name.endswith(".partial")


def _latent_shape(dataset: EncodedDataset) -> list[int]:
    """Of its records; datasets that `encode` did not make do not say it."""
    stored = dataset.metadata.get("latent_shape")
    return stored or (list(dataset.source[0]["latents"].shape) if len(dataset.source) else [])


def _seconds(dataset: EncodedDataset) -> float:
    """Of a record."""
    facts = dataset.metadata
    frames = facts.get("frames") or 4 * _latent_shape(dataset)[0] - 3
    return frames / facts["fps"]


def _made_with(facts: list[dict[str, Any]]) -> list[list[Any]]:
    """What made the datasets; where they differ, all values."""
    rows = [[name, [each.get(name) for each in facts]] for name in MADE_WITH]
    encoders = dict.fromkeys(part for each in facts for part in each["encoders"])
    rows += [[f"{part} (digest)", [each["encoders"].get(part) for each in facts]] for part in encoders]
    told = [[name, ", ".join(dict.fromkeys(str(v) for v in values if v is not None))] for name, values in rows]
    return [row for row in told if row[1]]


def _add_report(page: Page, path: Path) -> None:
    if path.is_file():
        skipped = read_json(path, _Report, limit=LARGEST_REPORT).skipped
        page.add_reasons("Left out by encode", [row.reason for row in skipped])


def _add_samples(page: Page, datasets: dict[str, EncodedDataset], samples: int) -> None:
    """Records at equal distances, and the spread of their prompts."""
    places = [(name, i) for name, dataset in datasets.items() for i in range(len(dataset.source))]
    tokens, phases = [], []
    for name, place in pick_spread(places, samples):
        record = datasets[name].source[place]
        tokens.append(len(record["text_tokens"]))
        phases.append(len(record["phase_windows"]))
        page.samples.append(_sample(name, record, datasets[name]))
    page.add_chart("text tokens of the samples", tokens)
    page.add_chart("actions of the samples", phases)


def _sample(name: str, record: Record, dataset: EncodedDataset) -> dict[str, Any]:
    latents = record["latents"]
    windows = [(float(start), float(end), f"action {k}") for k, (start, end) in enumerate(record["phase_windows"], 1)]
    times = [int(part * len(latents)) for part in SHOWN_AT]
    return {
        "name": f"{record['clip'].decode()} from {record['start'] / dataset.metadata['fps']:.2f} s",
        "pictures": [encode_thumbnail(colour_latents(latents[time])) for time in times],
        "fault": "",
        "facts": f"{name}, {len(record['text_tokens'])} text tokens; pictures: latent channels 1-3",
        "stages": [],
        "texts": [],
        "timeline": draw_timeline(windows, _seconds(dataset)),
        "actions": [],
    }


def colour_latents(latents: Float[np.ndarray, "H W C"]) -> UInt8[np.ndarray, "H W 3"]:
    """Three channels (the first, again where there are fewer) as colours, two standard deviations around zero."""
    chosen = np.asarray(latents, np.float32)[..., [k % latents.shape[-1] for k in range(3)]]
    return np.clip(chosen * 64 + 128, 0, 255).astype(np.uint8)


def _bytes(count: int) -> str:
    unit, each = ("kB", 1e3) if count < 1e6 else ("MB", 1e6) if count < 1e9 else ("GB", 1e9)
    return f"{count / each:,.1f} {unit}"
