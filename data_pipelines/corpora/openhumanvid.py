"""OpenHumanVid: `OpenHumanVid_part_*.csv` files, and clips below `part_*` folders.

A row's `path` is `clips/part_001/f6/05/<32 hex digits>`; the clip lies at `part_001/f6/05/<32 hex digits>.mp4`.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from actavatar_jax.errors import InputError
from data_pipelines.corpora.layout import check_clip_id, get_number, index_videos
from data_pipelines.table import Clip, StepReport

TEXTS = ("path", "clip_id", "caption")
SCORES = ("luminance_min", "luminance_max", "blur_min", "blur_max", "aesthetic", "technical_score", "global_motion")


def read_openhumanvid(src: Path, unpacked: Path, report: StepReport) -> Iterator[Clip]:
    """Clips that have a caption and lie on disk, with the columns `openhumanvid.*` of the scores and the part.

    Left out: rows whose clip is not there, clips without a row, and rows without a caption or with one that is not
    UTF-8, which might be read as anything.
    """
    parts = sorted(src.rglob("OpenHumanVid_part_*.csv"))
    if not parts:
        raise InputError(f"{src}: no OpenHumanVid_part_*.csv here or below")
    videos = index_videos(src)
    named = set()
    for part in parts:
        for number, row in _rows(part):
            place = f"{part.name} row {number}"
            clip_id = check_clip_id(row["clip_id"], place)
            named |= {clip_id, Path(row["path"]).name}
            video = videos.get(Path(row["path"]).name) or videos.get(clip_id)
            if video is None:
                report.add(clip_id, "skipped", "no clip", f"{place}: {row['path']}.mp4 is not on disk")
            elif not row["caption"].strip():
                report.add(clip_id, "skipped", "no caption", f"{place}: the caption is empty")
            elif "\ufffd" in row["caption"]:
                report.add(clip_id, "skipped", "caption not UTF-8", f"{place}: {row['caption']}")
            else:
                facts = {f"openhumanvid.{k}": get_number(row, k, place) if row[k] else None for k in SCORES if k in row}
                facts["openhumanvid.part"] = part.stem.removeprefix("OpenHumanVid_")
                yield Clip(clip_id, "openhumanvid", str(video), caption=row["caption"].strip(), facts=facts)
    for stem in sorted(videos.keys() - named):
        report.add(stem, "skipped", "no caption", f"{videos[stem]}: no CSV file has a row for this clip")


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """(number of the row, its named columns), counted as a spreadsheet does: the header is row 1."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        missing = [name for name in TEXTS if name not in header]
        if missing:
            raise InputError(f"{path}: row 1 has no column {', '.join(missing)}; it has {', '.join(header) or 'none'}")
        try:
            for number, values in enumerate(rows, start=2):
                if not values:
                    continue
                if len(values) < len([name for name in header if name]):
                    raise InputError(f"{path} row {number}: {len(values)} values, the header has {len(header)} columns")
                yield number, {n: v for n, v in zip(header, values, strict=False) if n}
        except csv.Error as error:
            raise InputError(f"{path} row {rows.line_num}: not CSV ({error})") from error
