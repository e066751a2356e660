"""HDTF: lists of videos, time ranges and face boxes in three groups, and videos wherever they lie.

Source of the lists: https://github.com/MRzzm/HDTF. Clip k of the video `Name` is the k-th range of its row in
`<group>_annotion_time.txt`. Videos are whole, called `Name` or `<group>_Name`, or cut clips, called `Name_<k>` or
`<group>_Name_<kkk>`.
"""

import math
import re
from collections.abc import Iterable, Iterator

from actavatar_jax.errors import InputError
from actavatar_jax.storage import Place, cut, read_bytes
from data_pipelines.corpora.layout import check_clip_id, get_number, index_videos
from data_pipelines.table import Clip, StepReport, digest

GROUPS = ("RD", "WDA", "WRA")
BOX = ("left", "width", "top", "height")
TEST_SEED, TEST_CLIPS, TEST_SECONDS = 2026, 100, 5


def read_hdtf(src: Place, unpacked: Place, report: StepReport) -> Iterator[Clip]:
    """Clips of videos on disk, uncropped, with the columns `hdtf.*`.

    Face boxes are columns only: they hold at the listed resolution, and a talking upper body needs the whole picture.
    The split is "test" for all clips of the videos in our test list; `hdtf.test_start` is where in the source the
    clip of the list begins, in seconds. Rows that are not as others are left out.
    """
    listed = _listed(src, report)
    videos = index_videos(src, report)
    windows = _test_windows(listed)
    tested = {clip_id.rpartition("_")[0] for clip_id in windows}
    used = set()
    for group, clip in listed:
        video, number = clip.source, int(clip.id.rpartition("_")[2])
        cut = {f"{video}_{number}", f"{group}_{video}_{number:03d}"} & videos.keys()
        whole = {video, f"{group}_{video}"} & videos.keys()
        used |= cut | whole
        split = "test" if clip.id.rpartition("_")[0] in tested else "train"
        facts = clip.facts | {"hdtf.test_start": windows.get(clip.id)}
        if whole:
            yield Clip(clip.id, "hdtf", str(videos[min(whole)]), clip.start, clip.end, split=split, facts=facts)
        elif cut:
            if facts["hdtf.test_start"] is not None:
                facts["hdtf.test_start"] -= clip.start
            yield Clip(clip.id, "hdtf", str(videos[min(cut)]), split=split, facts=facts)
        else:
            report.add(clip.id, "skipped", "no clip", f"{group}: neither the video {video} nor the clip is on disk")
    for stem in sorted(videos.keys() - used):
        report.add(stem, "skipped", "not listed", f"{videos[stem]}: no list names this video")


def list_test_clips(src: Place) -> dict[str, float]:
    """Our test list, as `draw_test_windows` has it, of the lists in a folder, whatever videos lie there."""
    return _test_windows(_listed(src, StepReport("the lists alone")))


def draw_test_windows(clips: Iterable[tuple[str, float, float]]) -> dict[str, float]:
    """Our test list {clip id: start second in the video}: at most one stretch of 5 s per video, 100 in all.

    clips: (id, start, end) of all listed clips, whether they are on disk or not. Videos are ranked, and stretches
    drawn, by SHA-256 of the seed and their names, so that the list is the same on every machine, in whatever order.
    """
    long_enough: dict[str, list[tuple[str, float, float]]] = {}
    for clip_id, start, end in sorted(clips):
        if math.floor(end) - math.ceil(start) >= TEST_SECONDS:
            long_enough.setdefault(clip_id.rpartition("_")[0], []).append((clip_id, start, end))
    windows = {}
    for video in sorted(long_enough, key=lambda video: digest(f"{TEST_SEED} {video}"))[:TEST_CLIPS]:
        draw = int(digest(f"{TEST_SEED} {video} stretch"), 16)
        clip_id, start, end = long_enough[video][draw % len(long_enough[video])]
        places = math.floor(end) - math.ceil(start) - TEST_SECONDS + 1
        windows[clip_id] = float(math.ceil(start) + draw // 1000 % places)
    return windows


def _test_windows(listed: list[tuple[str, Clip]]) -> dict[str, float]:
    return draw_test_windows((clip.id, clip.start, clip.end) for _, clip in listed)


def _listed(src: Place, report: StepReport) -> list[tuple[str, Clip]]:
    """All listed clips with their groups."""
    folder = src / "HDTF_dataset" if (src / "HDTF_dataset").is_dir() else src
    groups = [group for group in GROUPS if (folder / f"{group}_annotion_time.txt").is_file()]
    if not groups:
        raise InputError(f"{src}: no {GROUPS[0]}_annotion_time.txt here or in HDTF_dataset/")
    return [(group, clip) for group in groups for clip in _clips(folder, group, report)]


def _clips(folder: Place, group: str, report: StepReport) -> Iterator[Clip]:
    """The listed clips; `source` is the bare name of the video."""
    lists = ("annotion_time", "video_url", "resolution", "crop_wh", "crop_ratio")
    times, urls, heights, boxes, ratios = (_rows(folder / f"{group}_{name}.txt", report) for name in lists)
    for video in sorted(urls.keys() - times.keys()):
        report.add(f"{group}_{video}", "skipped", "no times", f"{group}_annotion_time.txt has no row for {video}")
    for video, (place, ranges) in times.items():
        for number, text in enumerate(ranges):
            name = f"{video}_{number}"
            try:
                start, end = _range(text, place)
                facts = {"group": group, "url": urls[video][1][0] if video in urls else None}
                facts |= _numbers(heights, video, ("resolution",)) | _numbers(ratios, name, ("crop_ratio",))
                facts |= _numbers(boxes, name, BOX)
                clip_id = check_clip_id(f"{group}_{name}", place)
            except InputError as error:
                report.add(f"{group}_{name}", "skipped", "odd row", str(error))
                continue
            facts = {f"hdtf.{key}": value for key, value in facts.items()}
            yield Clip(clip_id, "hdtf", source=video, start=start, end=end, facts=facts)


def _range(text: str, place: str) -> tuple[float, float]:
    """Start and end in seconds of `mm:ss-mm:ss`."""
    match = re.fullmatch(r"(\d{1,4}):(\d\d)-(\d{1,4}):(\d\d)", text)
    minutes, seconds, last_minutes, last_seconds = map(int, match.groups() if match else (0, 0, 0, 0))
    start, end = 60.0 * minutes + seconds, 60.0 * last_minutes + last_seconds
    if not start < end:
        raise InputError(f"{place}: '{cut(text, 60)}' is no time range mm:ss-mm:ss")
    return start, end


Rows = dict[str, tuple[str, list[str]]]  # by first word without suffix: the place for messages, and the other words


def _rows(path: Place, report: StepReport) -> Rows:
    if not path.is_file():
        raise InputError(f"{path}: this list is missing; HDTF has five for each group")
    rows: Rows = {}
    for number, line in enumerate(read_bytes(path).removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        place, words = f"{path} row {number}", line.decode("utf-8", "replace").split()
        if "\ufffd" in "".join(words):
            report.add(f"{path.name} row {number}", "skipped", "odd row", f"{place}: not UTF-8 text")
        elif len(words) == 1:
            problem = f"{place}: '{cut(words[0], 60)}' stands alone; a name and values are expected"
            report.add(f"{path.name} row {number}", "skipped", "odd row", problem)
        elif words:
            rows.setdefault(words[0].removesuffix(".mp4"), (place, words[1:]))
    return rows


def _numbers(rows: Rows, name: str, keys: tuple[str, ...]) -> dict[str, float | None]:
    if name not in rows:
        return dict.fromkeys(keys)
    place, words = rows[name]
    if len(words) != len(keys):
        raise InputError(f"{place}: {len(words)} values; {', '.join(keys)} are expected")
    return {key: get_number({key: word}, key, place) for key, word in zip(keys, words, strict=True)}
