"""OpenHumanVid: `OpenHumanVid_part_*.csv` files, and clips below `part_*` folders.

A row's `path` is `clips/part_001/f6/05/<32 hex digits>`; the clip lies at `part_001/f6/05/<32 hex digits>.mp4`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from actavatar_jax.errors import InputError
from actavatar_jax.storage import Place, read_csv
from data_pipelines.corpora.layout import check_clip_id, get_number, index_videos
from data_pipelines.table import Clip, Skip, StepReport

TEXTS = ("path", "clip_id", "caption")
SCORES = ("luminance_min", "luminance_max", "blur_min", "blur_max", "aesthetic", "technical_score", "global_motion")


def read_openhumanvid(src: Place, unpacked: Place, report: StepReport) -> Iterator[Clip]:
    """Clips that have a caption and lie on disk, with the columns `openhumanvid.*` of the scores and the part.

    Left out: rows whose clip is not there, clips without a row, odd rows, and rows without a caption or with one that
    is not UTF-8, which might be read as anything.
    """
    parts = sorted(src.rglob("OpenHumanVid_part_*.csv"))
    if not parts:
        raise InputError(f"{src}: no OpenHumanVid_part_*.csv here or below")
    videos = index_videos(src, report)
    named = set()
    for part in parts:
        for number, row in read_csv(part, TEXTS):
            place = f"{part.name} row {number}"
            name = place
            try:
                if isinstance(row, InputError):
                    raise row
                name = check_clip_id(row["clip_id"], place)
                named |= {name, Path(row["path"]).name}
                yield _clip(name, row, part, place, videos)
            except Skip as skip:
                report.add(name, "skipped", skip.reason, skip.detail)
            except InputError as error:
                report.add(name, "skipped", "odd row", str(error))
    for stem in sorted(videos.keys() - named):
        report.add(stem, "skipped", "no caption", f"{videos[stem]}: no CSV file has a row for this clip")


def _clip(clip_id: str, row: Mapping[str, str], part: Place, place: str, videos: Mapping[str, Place]) -> Clip:
    """The clip of a row. Raises Skip where it lacks something, InputError where a value is not what it should be."""
    video = videos.get(Path(row["path"]).name) or videos.get(clip_id)
    if video is None:
        raise Skip("no clip", f"{place}: {row['path']}.mp4 is not on disk")
    if not row["caption"].strip():
        raise Skip("no caption", f"{place}: the caption is empty")
    if "\ufffd" in row["caption"]:
        raise Skip("caption not UTF-8", f"{place}: {row['caption']}")
    facts = {f"openhumanvid.{k}": get_number(row, k, place) if row[k] else None for k in SCORES if k in row}
    facts["openhumanvid.part"] = part.stem.removeprefix("OpenHumanVid_")
    return Clip(clip_id, "openhumanvid", str(video), caption=row["caption"].strip(), facts=facts)
