"""The page about a shard folder: what the datasets hold and what made them, with a look at some records."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from actavatar_jax.charts import draw_timeline, encode_thumbnail
from actavatar_jax.storage import Place, read_json
from data_pipelines.pages.page import SHOWN_AT, Page, format_duration, pick_spread
from data_pipelines.shards import DatasetSummary, EncodedDataset, Record

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


def make_shard_page(folder: Place, summaries: Sequence[DatasetSummary], samples: int) -> Page:
    page = Page(f"Encoded clips in {folder}")
    lengths = [summary.records * _seconds(summary.shown) for summary in summaries]
    page.tiles = [
        ("datasets", f"{len(summaries):,}"),
        ("records", f"{sum(summary.records for summary in summaries):,}"),
        ("length", format_duration(sum(lengths))),
        ("size", _bytes(sum(summary.bytes for summary in summaries))),
    ]
    columns = ["dataset", "records", "clips", "length", "shards", "size", "latents T x H x W x C"]
    page.add_table("Datasets", columns, map(_row, summaries, lengths))
    page.add_table("Made with", ["", ""], _made_with([summary.shown.metadata for summary in summaries]))
    _add_report(page, folder / "report.json")
    page.add_chart("enlargement of the clips", [row.enlargement for one in summaries for row in one.index or ()])
    _add_samples(page, {summary.name: summary.shown for summary in summaries}, samples)
    return page


def _row(summary: DatasetSummary, length: float) -> list[str]:
    clips = "" if summary.index is None else f"{len(summary.index):,}"
    latents = " x ".join(map(str, _latent_shape(summary.shown)))
    counts = f"{summary.records:,}", clips, format_duration(length), f"{summary.shards:,}"
    return [summary.name, *counts, _bytes(summary.bytes), latents]


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


def _add_report(page: Page, path: Place) -> None:
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
