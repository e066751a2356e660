"""WebDataset tars: members of one key, `<key>.mp4` with `<key>.json` or `<key>.txt`, stand beside each other.

Videos are unpacked into a folder beside the table, with what is said of them: a `.json` that is a structured prompt is
kept as it is, of any other the text under `caption` or `text` is the caption.
"""

import io
import lzma
import os
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from actavatar_jax.errors import InputError
from actavatar_jax.storage import replaced_file, write_json
from data_pipelines.corpora.layout import VIDEO_SUFFIXES, make_clip_id, parse_json
from data_pipelines.table import Clip, Skip, StepReport

TARS = ("*.tar", "*.tar.gz", "*.tgz")
CAPTION_KEYS = ("caption", "text")
_BLOCK = 1 << 20


def read_webdataset(src: Path, unpacked: Path, report: StepReport) -> Iterator[Clip]:
    """One clip per key with a video, of one tar or of all tars in a folder.

    Of a tar that breaks off, whole samples are used; the sample of the torn member is left out and reported.
    """
    tars = [src] if src.is_file() else sorted(path for pattern in TARS for path in src.rglob(pattern))
    if not tars:
        raise InputError(f"{src}: no tar here or below; accepted are {', '.join(TARS)}")
    root = src.parent if src.is_file() else src
    unpacked.mkdir(parents=True, exist_ok=True)
    for tar in tars:
        name = tar.relative_to(root).as_posix()
        for key, members in _samples(tar, name, unpacked, report):
            yield from _clip(f"{name}/{key}", members, unpacked, report)


Sample = dict[str, Path | bytes]  # by suffix: the unpacked video, the contents of other members


def _samples(tar: Path, name: str, unpacked: Path, report: StepReport) -> Iterator[tuple[str, Sample]]:
    key, sample, finished = "", {}, set()
    try:
        with tarfile.open(tar, "r:*") as archive:
            for member in filter(tarfile.TarInfo.isfile, archive):
                member_key, suffix = _split(member.name)
                if member_key != key:
                    if sample:
                        yield key, sample
                    finished.add(key)
                    key, sample = member_key, {}
                if key in finished or suffix in sample:
                    report.add(f"{name}/{member.name}", "skipped", "duplicate id", f"{tar} holds this member already")
                    continue
                sample[suffix] = _content(archive.extractfile(member), member, suffix, f"{name}/{key}", unpacked)
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        report.add(f"{name}/{key}", "skipped", "torn tar", f"{tar} breaks off here ({error})")
        return
    if tar.suffix == ".tar" and not _has_end(tar):
        report.add(f"{name}/{key}", "skipped", "torn tar", f"{tar} breaks off behind {key}, which may lack a member")
    elif sample:
        yield key, sample


def _has_end(tar: Path) -> bool:
    """Whether a tar ends with the block of zeros that all programs write."""
    with tar.open("rb") as file:
        file.seek(-min(tarfile.BLOCKSIZE, tar.stat().st_size), os.SEEK_END)
        return not any(file.read())


def _clip(place: str, sample: Sample, unpacked: Path, report: StepReport) -> Iterator[Clip]:
    videos = [suffix for suffix in VIDEO_SUFFIXES if suffix in sample]
    if not videos:
        report.add(place, "skipped", "no clip", f"{place}: the sample has no video, only {', '.join(sample)}")
        return
    video, caption = sample[videos[0]], ""
    try:
        if ".json" in sample:
            caption = _described(sample[".json"], f"{place}.json", video)
        elif ".txt" in sample:
            caption = sample[".txt"].decode("utf-8-sig").strip()
    except Skip as skip:
        report.add(place, "skipped", skip.reason, skip.detail)
        return
    except UnicodeDecodeError as error:
        report.add(place, "skipped", "caption not UTF-8", f"{place}.txt: {error}")
        return
    yield Clip(video.stem, "webdataset", str(video), caption=caption, facts={"webdataset.key": place})


def _described(content: bytes, place: str, video: Path) -> str:
    """The caption in a `.json` member; a structured prompt is put beside the video instead."""
    record = parse_json(content, place)
    keys = list(record) if isinstance(record, dict) else []
    if "base" in keys:
        write_json(video.with_suffix(".json"), record)
        return ""
    found = next((key for key in CAPTION_KEYS if isinstance(record, dict) and isinstance(record.get(key), str)), None)
    if found is None:
        wanted = " or ".join(f"'{key}'" for key in ("base", *CAPTION_KEYS))
        raise InputError(f"{place}: no text under {wanted}; there is {', '.join(keys) or type(record).__name__}")
    return record[found].strip()


def _split(member: str) -> tuple[str, str]:
    """Key and suffix of a member: the file name is cut at its first dot, as WebDataset does."""
    path = PurePosixPath(member)
    stem, dot, suffix = path.name.partition(".")
    return str(path.with_name(stem)), f"{dot}{suffix}".lower()


def _content(file: io.BufferedIOBase, member: tarfile.TarInfo, suffix: str, place: str, unpacked: Path) -> Path | bytes:
    """A member's contents, those of a video as a file. Raises EOFError where the tar ends within."""
    if suffix not in VIDEO_SUFFIXES:
        return _whole(file, member)
    path = unpacked / f"{make_clip_id(place)}{suffix}"
    if path.is_file() and path.stat().st_size == member.size:
        return path
    with replaced_file(path) as partial, partial.open("wb") as out:
        left = member.size
        while left:
            block = file.read(min(left, _BLOCK))
            if not block:
                raise EOFError(f"{member.name} lacks {left} of {member.size} bytes")
            out.write(block)
            left -= len(block)
    return path


def _whole(file: io.BufferedIOBase, member: tarfile.TarInfo) -> bytes:
    content = file.read()
    if len(content) < member.size:
        raise EOFError(f"{member.name} lacks {member.size - len(content)} of {member.size} bytes")
    return content
