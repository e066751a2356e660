"""The page about a shard folder: what the datasets hold and what made them, with a look at some records."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from actavatar_jax.charts import draw_timeline, encode_thumbnail
from actavatar_jax.storage import read_json
from data_pipelines.pages.page import SHOWN_AT, Page, pick_spread
from data_pipelines.shards import EncodedDataset, Record, find_datasets, list_shards, open_dataset, read_index

MADE_WITH = ("schema", "layout", "latents", "fps", "anchors", "stage", "stride_frames", "records_per_shard")

LARGEST_REPORT = 2**30  # bytes


@dataclass(frozen=True)
class _Outcome:
    reason: str


@dataclass(frozen=True)
class _Report:
    """What is used of `report.json`."""

    skipped: list[_Outcome]


def is_shard_folder(folder: Path) -> bool:
    return any(path.is_file() for path in [folder / "dataset_info.json", *folder.glob("[!.]*/dataset_info.json")])


def make_shard_page(folder: Path, samples: int) -> Page:
    page = Page(f"Encoded clips in {folder}")
    datasets = [open_dataset(path) for path in find_datasets([folder])]
    rows, records, seconds, size = [], 0, 0.0, 0
    for dataset in datasets:
        count, paths, facts = len(dataset.source), list_shards(dataset.folder), dataset.metadata
        lasting, stored = count * facts["frames"] / facts["fps"], sum(path.stat().st_size for path in paths)
        clips = len(read_index(dataset.folder))
        latents = " x ".join(map(str, facts["latent_shape"]))
        rows.append([dataset.folder.name, count, clips, f"{lasting / 3600:.2f}", len(paths), _bytes(stored), latents])
        records, seconds, size = records + count, seconds + lasting, size + stored
    hours = f"{seconds / 3600:.2f}"
    page.tiles = [
        ("buckets", str(len(datasets))),
        ("records", str(records)),
        ("hours", hours),
        ("on disk", _bytes(size)),
    ]
    page.add_table("Buckets", ["bucket", "records", "clips", "hours", "shards", "size", "latents T x H x W x C"], rows)
    facts = datasets[0].metadata
    made_with = [[name, facts[name]] for name in MADE_WITH if facts.get(name) is not None]
    page.add_table("Made with", ["", ""], made_with + [[f"{k} (digest)", v] for k, v in facts["encoders"].items()])
    _add_report(page, folder / "report.json")
    _add_samples(page, datasets, samples)
    return page


def _add_report(page: Page, path: Path) -> None:
    if path.is_file():
        skipped = read_json(path, _Report, limit=LARGEST_REPORT).skipped
        page.add_reasons("Left out by encode", [row.reason for row in skipped])


def _add_samples(page: Page, datasets: list[EncodedDataset], samples: int) -> None:
    """Records at equal distances, and the spread of their prompts."""
    places = [(dataset, i) for dataset in datasets for i in range(len(dataset.source))]
    tokens, phases = [], []
    for dataset, place in pick_spread(places, samples):
        record = dataset.source[place]
        tokens.append(len(record["text_tokens"]))
        phases.append(len(record["phase_windows"]))
        page.samples.append(_sample(record, dataset))
    page.add_chart("text tokens of the samples", tokens)
    page.add_chart("actions of the samples", phases)


def _sample(record: Record, dataset: EncodedDataset) -> dict[str, Any]:
    facts, latents = dataset.metadata, record["latents"]
    windows = [(float(start), float(end), f"action {k}") for k, (start, end) in enumerate(record["phase_windows"], 1)]
    times = [int(part * len(latents)) for part in SHOWN_AT]
    return {
        "name": f"{record['clip'].decode()} from {record['start'] / facts['fps']:.2f} s",
        "pictures": [encode_thumbnail(colour_latents(latents[time])) for time in times],
        "fault": "",
        "facts": f"{dataset.folder.name}, {len(record['text_tokens'])} text tokens; pictures: latent channels 1-3",
        "stages": [],
        "base": "",
        "timeline": draw_timeline(windows, facts["frames"] / facts["fps"]),
        "actions": [],
    }


def colour_latents(latents: Float[np.ndarray, "H W C"]) -> UInt8[np.ndarray, "H W 3"]:
    """Three channels (the first, again where there are fewer) as colours, two standard deviations around zero."""
    chosen = np.asarray(latents, np.float32)[..., [k % latents.shape[-1] for k in range(3)]]
    return np.clip(chosen * 64 + 128, 0, 255).astype(np.uint8)


def _bytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.2f} MB"
