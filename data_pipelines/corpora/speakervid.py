"""SpeakerVid-5M: one JSON file per clip in `merged_anno/`, captions in `raw_labels/anno/`, videos wherever they lie.

A clip is called `<YouTube id>_<W>x<H>_full_video_<...>`. YouTube ids may hold underscores, so an id is the first 11
characters. Videos are either cut clips, called as their annotation, or whole videos, called `<id>` or as `video_name`.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from actavatar_jax.errors import InputError
from actavatar_jax.storage import Place, read_json, shown
from data_pipelines.corpora.layout import check_clip_id, get_number, get_text, index_videos
from data_pipelines.table import Clip, Process, Skip, StepReport

YOUTUBE_ID = 11
LARGEST_LIST = 2**29  # bytes; a name has some sixty, and there are five million
NUMBERS = ("clip_speaker_num", "conf", "clear", "dover")
CAPTIONS = ("movement_caption", "expression_caption")
SPLITS = {"sft": "SFT_set.json", "test": "testset.json"}
_VIDEO_NAME = re.compile(r"(.*_full_video)_.*")
SIZE_TOLERANCE = 32  # pixels by which the sides of a delivered clip, multiples of 16, may differ from its box


def read_speakervid(src: Place, unpacked: Place, report: StepReport, process: Process = (0, 1)) -> Iterator[Clip]:
    """Clips whose video lies on disk, with the columns `speakervid.*`: listening ones, too (`is_talking`).

    Each process reads its part of the annotations, and the first tells what is to be told of the whole.

    Left out: annotations whose video is not there, that are damaged or not as others are, and videos without one.
    """
    folder = src / "merged_anno"
    if not folder.is_dir():
        raise InputError(f"{src}: no folder merged_anno here; unpack the annotations of SpeakerVid-5M into it")
    index, count = process
    about_all = report if index == 0 else StepReport("")
    videos = index_videos(src, about_all)
    members = {split: _members(src / name, about_all) for split, name in SPLITS.items()}
    used = set()
    for number, path in enumerate(sorted(folder.rglob("[!.]*.json"))):
        name = path.stem
        used |= {name, name[:YOUTUBE_ID], _VIDEO_NAME.sub(r"\1", name)}
        if number % count != index:
            continue
        try:
            clip = _clip(path, videos, src / "raw_labels" / "anno" / path.name)
        except Skip as skip:
            report.add(name, "skipped", skip.reason, skip.detail)
            continue
        except InputError as error:
            report.add(name, "skipped", "odd annotation", str(error))
            continue
        split = next((split for split, names in members.items() if name in names), "train")
        yield dataclasses.replace(clip, split=split)
    for stem in sorted(videos.keys() - used):
        about_all.add(stem, "skipped", "no annotation", f"{videos[stem]}: merged_anno has no clip of it")


def _clip(path: Place, videos: Mapping[str, Place], caption: Place) -> Clip:
    """The clip of an annotation. Raises Skip where its video is missing or a file damaged, InputError for others."""
    record, name = _record(path), check_clip_id(path.stem, str(path))
    whole = [v for v in (get_text(record, "video_name", str(path)), name[:YOUTUBE_ID]) if v in videos]
    if name in videos:
        place = {"source": str(videos[name])}
    elif whole:
        place = {"source": str(videos[whole[0]])} | _stretch(record, path)
    else:
        raise Skip("no clip", f"{path.name}: neither this clip nor its video is on disk")
    facts = {f"speakervid.{key}": value for key, value in _facts(record, path).items()}
    return Clip(name, "speakervid", caption=_caption(caption), facts=facts, **place)


def _record(path: Place) -> dict[str, Any]:
    try:
        return read_json(path)
    except InputError as error:
        raise Skip("damaged annotation", str(error)) from error


def _stretch(record: Mapping[str, Any], path: Place) -> dict[str, Any]:
    """Where the clip lies in its whole video."""
    start = get_number(record, "start_seconds", str(path))
    end_key = "end_seconds" if "end_seconds" in record else "duration"
    end = get_number(record, end_key, str(path)) + (0 if end_key == "end_seconds" else start)
    if not 0 <= start < end:
        raise InputError(f"{path}: keys 'start_seconds' and '{end_key}' give the stretch {start} to {end} s")
    return {"start": start, "end": end, "crop": _crop(record, path)}


def _crop(record: Mapping[str, Any], path: Place) -> tuple[float, float, float, float]:
    """x, y, width, height of `bbox`, which holds the corners: left, top, right, bottom in fractions of the picture.

    The size of the delivered clip proves it; a box of another kind would fail here.
    """
    box = record.get("bbox")
    if not (isinstance(box, list) and len(box) == 4 and all(isinstance(v, int | float) for v in box)):
        raise InputError(f"{path}: key 'bbox' is {shown(box)}; four numbers are expected")
    left, top, right, bottom = (float(min(max(value, 0), 1)) for value in box)
    crop = left, top, right - left, bottom - top
    for side, fraction in (("width", crop[2]), ("height", crop[3])):
        pixels = fraction * get_number(record, f"raw_video_{side}", str(path))
        wanted = get_number(record, f"clip_video_{side}", str(path))
        if abs(pixels - wanted) > SIZE_TOLERANCE:
            raise InputError(
                f"{path}: key 'bbox' {box} as left, top, right, bottom is {pixels:.0f} pixels of {side}, "
                f"but 'clip_video_{side}' is {wanted:.0f}; the layout is not the known one"
            )
    return crop


def _facts(record: Mapping[str, Any], path: Place) -> dict[str, Any]:
    """Speaking or listening (required), scores, and who speaks; null where a key is missing."""
    speakers = record.get("speaker")
    return {
        "is_talking": get_number(record, "is_talking", str(path)) != 0,
        **{key: get_number(record, key, str(path)) if record.get(key) is not None else None for key in NUMBERS},
        "speaker": None
        if speakers is None
        else " ".join(map(str, speakers if isinstance(speakers, list) else [speakers])),
        "youtube_id": path.stem[:YOUTUBE_ID],
    }


def _caption(path: Place) -> str:
    """What the clip's person does and shows, "" where the clip has no caption file."""
    if not path.is_file():
        return ""
    record = _record(path)
    return " ".join(get_text(record, key, str(path)).strip() for key in CAPTIONS)


def _members(path: Place, report: StepReport) -> set[str]:
    """The clips that a list names, none where there is no list. A list that cannot be read would mix up the splits."""
    found = set()
    for number, row in enumerate(read_json(path, list, limit=LARGEST_LIST) if path.is_file() else []):
        name = row.get("filename") if isinstance(row, dict) else row
        if isinstance(name, str):
            found.add(Path(name).name.removesuffix(".json").removesuffix(".mp4"))
        else:
            problem = f"{path} entry {number}: a clip name, or an object with the key 'filename', is expected"
            report.add(f"{path.name} entry {number}", "skipped", "odd entry", problem)
    return found
