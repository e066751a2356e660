"""The page about a clip folder: corpora, sizes, what steps left out and measured, with a look at some clips."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from actavatar_jax.charts import draw_timeline, encode_thumbnail
from actavatar_jax.errors import InputError
from actavatar_jax.prompt import StructuredPrompt
from actavatar_jax.storage import Place, fetched
from data_pipelines.filters import read_frames_at
from data_pipelines.pages.page import SHOWN_AT, Page, format_duration, pick_spread
from data_pipelines.shards import DEFAULT_SIZES, choose_bucket, parse_buckets
from data_pipelines.table import CORE_SCHEMA, Clip, Table, actions_path, caption_path, clip_path, read_manifest

STAGES = ("stage1", "stage2")


def make_clip_page(clip_dir: Place, samples: int) -> Page:
    table = read_manifest(clip_dir)
    page = Page(f"Clips in {clip_dir}")
    clips = [clip for clip in table if clip.facts.get("prepare.seconds") and not clip.facts.get("prepare.error")]
    stages = [name for name in STAGES if name in table.names]
    page.tiles = [
        ("clips in the table", f"{len(table):,}"),
        ("prepared", f"{len(clips):,}"),
        ("length", _length(clips)),
    ]
    for name in stages:
        chosen = [clip for clip in clips if clip.facts[name]]
        page.tiles.append((f"for {name}", f"{len(chosen):,} ({_length(chosen)})"))
    _add_corpora(page, table, clips, stages)
    _add_buckets(page, clips)
    for name in table.names:
        if name.endswith((".error", ".reason")):
            # What `prepare` left out is counted there, and not once more by each step that finds no clip.
            reasons = table.column(name) if name == "prepare.error" else [clip.facts[name] for clip in clips]
            page.add_reasons(f"Left out by {name.rpartition('.')[0]}", reasons)
    for name in table.names:
        if name not in CORE_SCHEMA.names:
            page.add_chart(name, table.column(name))
    page.samples = [_sample(clip, clip_dir, stages) for clip in pick_spread(clips, samples)]
    return page


def _length(clips: Iterable[Clip]) -> str:
    return format_duration(sum(clip.facts["prepare.seconds"] for clip in clips))


def _add_corpora(page: Page, table: Table, clips: list[Clip], stages: list[str]) -> None:
    total = Counter(table.column("corpus"))
    rows = []
    for corpus in sorted(total):
        inside = [clip for clip in clips if clip.corpus == corpus]
        chosen = [_length(clip for clip in inside if clip.facts[stage]) for stage in stages]
        rows.append([corpus, f"{total[corpus]:,}", f"{len(inside):,}", _length(inside), *chosen])
    page.add_table("Corpora", ["corpus", "clips", "prepared", "length", *(f"for {s}" for s in stages)], rows)


def _add_buckets(page: Page, clips: list[Clip]) -> None:
    sizes = parse_buckets(DEFAULT_SIZES, 125)
    groups: dict[str, list[Clip]] = {}
    for clip in clips:
        bucket = choose_bucket(clip.facts["prepare.height"], clip.facts["prepare.width"], sizes)
        groups.setdefault("none, too small" if bucket is None else f"{bucket.height}x{bucket.width}", []).append(clip)
    rows = [[name, f"{len(group):,}", _length(group)] for name, group in sorted(groups.items())]
    page.add_table("Of the default sizes", ["height x width", "clips", "length"], rows)


def _sample(clip: Clip, clip_dir: Place, stages: list[str]) -> dict[str, Any]:
    facts, path = clip.facts, clip_path(clip, clip_dir)
    seconds, fault, images, texts = facts["prepare.seconds"], "", [], [StructuredPrompt(clip.caption)]
    try:
        with fetched(path) as video:
            images = read_frames_at(video, SHOWN_AT)
        files = [file for file in (caption_path(clip, clip_dir), actions_path(clip, clip_dir)) if file.is_file()]
        texts = [StructuredPrompt.load(file) for file in files] or texts
    except InputError as error:
        fault = str(error)
    told = texts[-1].phases
    phases = [(phase.start, phase.end, phase.action) for phase in told]
    return {
        "name": clip.id,
        "pictures": [encode_thumbnail(image) for image in images],
        "fault": fault,
        "facts": f"{clip.corpus}, {seconds:.2f} s, {facts['prepare.width']} x {facts['prepare.height']} pixels",
        "stages": [(stage, facts[stage], facts.get(f"{stage}.reason")) for stage in stages],
        "texts": list(dict.fromkeys(text.base for text in texts if text.base)),
        "timeline": draw_timeline(phases, seconds, facts.get("motion.profile") or ()),
        "actions": [f"{phase.stamp} {phase.action}" for phase in told],
    }
