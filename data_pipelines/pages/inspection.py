"""A clip folder or a shard folder as one web page, which needs no other file: counts, hours, reasons, samples."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from actavatar_jax.errors import InputError
from actavatar_jax.prompt import StructuredPrompt
from actavatar_jax.storage.documents import write_text
from data_pipelines.filters import pictures
from data_pipelines.pages import charts
from data_pipelines.shards.buckets import DEFAULT_SIZES, choose_bucket, parse_buckets
from data_pipelines.table import CORE, Clip, Table, read_manifest
from data_pipelines.table.steps import clip_path

SHOWN_AT = (0.1, 0.5, 0.9)  # of a clip's length
STAGES = ("stage1", "stage2")


@dataclass
class Page:
    """What `page.html` shows."""

    title: str
    tiles: list[tuple[str, str]] = field(default_factory=list)
    tables: list[dict[str, Any]] = field(default_factory=list)
    reasons: list[dict[str, Any]] = field(default_factory=list)
    charts: list[dict[str, Any]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)

    def add_table(self, title: str, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        self.tables.append({"title": title, "names": names, "rows": list(rows)})

    def add_reasons(self, title: str, reasons: Iterable[str | None]) -> None:
        """How often each reason occurs, the commonest first; nothing where there is none."""
        counts = Counter(reason for reason in reasons if reason)
        if counts:
            rows = sorted(counts.items(), key=lambda row: (-row[1], row[0]))
            self.reasons.append({"title": title, "counts": rows, "total": rows[0][1]})

    def add_chart(self, name: str, values: Sequence[Any]) -> None:
        """A histogram of numbers (None: unknown); nothing where there are none, or other values."""
        known = [value for value in values if value is not None]
        if not known or any(isinstance(value, bool) or not isinstance(value, int | float) for value in known):
            return
        finite = [value for value in known if isfinite(value)]
        if finite:
            svg = charts.histogram(finite)
            self.charts.append({"name": name, "svg": svg, "known": len(finite), "unknown": len(values) - len(finite)})

    def write(self, path: Path) -> None:
        try:
            import jinja2
        except ImportError as error:
            raise InputError('`data inspect` needs jinja2: pip install "actavatar-jax[data]"') from error
        source = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
        template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(source)
        write_text(path, template.render(vars(self)))


def inspect(folder: str | Path, out: str | Path, *, samples: int = 24) -> None:
    """Writes the page `out` about a clip folder (prepared, perhaps filtered and annotated) or a shard folder.

    Raises InputError where the folder is neither.
    """
    from data_pipelines.pages.shards import is_shard_folder, shard_page

    folder, out = Path(folder), Path(out)
    if is_shard_folder(folder):
        shard_page(folder, samples).write(out)
    elif (folder / "manifest.parquet").is_file():
        clip_page(folder, samples).write(out)
    else:
        raise InputError(f"{folder}: neither a clip folder (`prepare` makes one) nor a shard folder (`encode` does)")


def clip_page(clip_dir: Path, samples: int) -> Page:
    table = read_manifest(clip_dir)
    page = Page(f"Clips in {clip_dir}")
    clips = [clip for clip in table if clip.facts.get("prepare.seconds") and not clip.facts.get("prepare.error")]
    stages = [name for name in STAGES if name in table.names]
    page.tiles = [("clips in the table", f"{len(table)}"), ("prepared", f"{len(clips)}"), ("hours", hours(clips))]
    for name in stages:
        chosen = [clip for clip in clips if clip.facts[name]]
        page.tiles.append((f"for {name}", f"{len(chosen)} ({hours(chosen)} h)"))
    _add_corpora(page, table, clips, stages)
    _add_buckets(page, clips)
    for name in table.names:
        if name.endswith((".error", ".reason")):
            # What `prepare` left out is counted there, and not once more by each step that finds no clip.
            reasons = table.column(name) if name == "prepare.error" else [clip.facts[name] for clip in clips]
            page.add_reasons(f"Left out by {name.rpartition('.')[0]}", reasons)
    for name in table.names:
        if name not in CORE.names:
            page.add_chart(name, table.column(name))
    page.samples = [_sample(clip, clip_dir, stages) for clip in spread(clips, samples)]
    return page


def hours(clips: Iterable[Clip]) -> str:
    return f"{sum(clip.facts['prepare.seconds'] for clip in clips) / 3600:.2f}"


def spread(things: Sequence[Any], count: int) -> list[Any]:
    """`count` of them at equal distances, or all."""
    count = min(count, len(things))
    return [things[i * len(things) // count] for i in range(count)]


def _add_corpora(page: Page, table: Table, clips: list[Clip], stages: list[str]) -> None:
    total = Counter(table.column("corpus"))
    rows = []
    for corpus in sorted(total):
        inside = [clip for clip in clips if clip.corpus == corpus]
        chosen = [hours(clip for clip in inside if clip.facts[stage]) for stage in stages]
        rows.append([corpus, total[corpus], len(inside), hours(inside), *chosen])
    page.add_table("Corpora", ["corpus", "clips", "prepared", "hours", *(f"hours for {s}" for s in stages)], rows)


def _add_buckets(page: Page, clips: list[Clip]) -> None:
    sizes = parse_buckets(DEFAULT_SIZES, 125)
    groups: dict[str, list[Clip]] = {}
    for clip in clips:
        nearest = choose_bucket(clip.facts["prepare.height"], clip.facts["prepare.width"], sizes)
        groups.setdefault(f"{nearest.height}x{nearest.width}", []).append(clip)
    rows = [[name, len(group), hours(group)] for name, group in sorted(groups.items())]
    page.add_table("Nearest of the default sizes", ["height x width", "clips", "hours"], rows)


def _sample(clip: Clip, clip_dir: Path, stages: list[str]) -> dict[str, Any]:
    facts, path = clip.facts, clip_path(clip, clip_dir)
    seconds, fault, images, prompt = facts["prepare.seconds"], "", [], StructuredPrompt(clip.caption)
    try:
        images = pictures.at(path, SHOWN_AT)
        if path.with_suffix(".json").is_file():
            prompt = StructuredPrompt.load(path.with_suffix(".json"))
    except InputError as error:
        fault = str(error)
    phases = [(phase.start, phase.end, phase.action) for phase in prompt.phases]
    return {
        "name": clip.id,
        "pictures": [charts.thumbnail(image) for image in images],
        "fault": fault,
        "facts": f"{clip.corpus}, {seconds:.2f} s, {facts['prepare.width']} x {facts['prepare.height']} pixels",
        "stages": [(stage, facts[stage], facts.get(f"{stage}.reason")) for stage in stages],
        "base": prompt.base,
        "timeline": charts.timeline(phases, seconds, facts.get("motion.profile") or ()),
        "actions": [f"{phase.stamp} {phase.action}" for phase in prompt.phases],
    }
