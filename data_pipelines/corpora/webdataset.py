"""WebDataset tars: members of one key, `<key>.mp4` with `<key>.json` or `<key>.txt`, stand beside each other.

Videos are unpacked into a folder beside the table, with what is said of them: a `.json` that is a structured prompt is
kept as it is, of any other the text under `caption` or `text` is the caption.
"""

from collections.abc import Iterator

from actavatar_jax.errors import InputError
from actavatar_jax.media.formats import VIDEO_SUFFIXES
from actavatar_jax.storage import Place, parse_json, write_json
from data_pipelines.corpora.layout import printable
from data_pipelines.corpora.samples import Sample, read_samples
from data_pipelines.table import Clip, Process, Skip, StepReport

TARS = ("*.tar", "*.tar.gz", "*.tgz")
CAPTION_KEYS = ("caption", "text")


def read_webdataset(src: Place, unpacked: Place, report: StepReport, process: Process = (0, 1)) -> Iterator[Clip]:
    """One clip per key with a video, of one tar or of all tars in a folder that are the process's part.

    Of a tar that is damaged or breaks off, whole samples are used. A sample beside the damage counts as whole if it has
    the members that another sample of its tar has.
    """
    tars = [src] if src.is_file() else sorted(path for pattern in TARS for path in src.rglob(pattern))
    if not tars:
        raise InputError(f"{src}: no tar here or below; accepted are {', '.join(TARS)}")
    root = src.parent if src.is_file() else src
    unpacked.mkdir(parents=True, exist_ok=True)
    for tar in tars[process[0] :: process[1]]:
        name = printable(tar.relative_to(root).as_posix())
        for key, sample in read_samples(tar, name, unpacked, report):
            yield from _clip(f"{name}/{key}", sample, unpacked, report)


def _clip(place: str, sample: Sample, unpacked: Place, report: StepReport) -> Iterator[Clip]:
    videos = [suffix for suffix in VIDEO_SUFFIXES if suffix in sample]
    if not videos:
        report.add(place, "skipped", "no clip", f"{place}: the sample has no video, only {', '.join(sample)}")
        return
    try:
        for part in sample.values():
            if isinstance(part, Skip):
                raise part
        video, caption = sample[videos[0]], ""
        if ".json" in sample:
            caption = _described(sample[".json"], f"{place}.json", video)
        elif ".txt" in sample:
            caption = sample[".txt"].decode("utf-8-sig").strip()
    except Skip as skip:
        report.add(place, "skipped", skip.reason, skip.detail)
    except UnicodeDecodeError as error:
        report.add(place, "skipped", "caption not UTF-8", f"{place}.txt: {error}")
    else:
        yield Clip(video.stem, "webdataset", str(video), caption=caption, facts={"webdataset.key": place})


def _described(content: bytes, place: str, video: Place) -> str:
    """The caption in a `.json` member; a structured prompt is put beside the video instead."""
    try:
        record = parse_json(content, place)
    except InputError as error:
        raise Skip("damaged annotation", str(error)) from error
    if "base" in record:
        write_json(video.with_suffix(".json"), record)
        return ""
    found = next((key for key in CAPTION_KEYS if isinstance(record.get(key), str)), None)
    if found is None:
        wanted = " or ".join(f"'{key}'" for key in ("base", *CAPTION_KEYS))
        raise Skip("odd annotation", f"{place}: no text under {wanted}; there is {', '.join(record) or 'nothing'}")
    return record[found].strip()
