"""The samples of a tar: members of one key that stand beside each other, and what of them is of use."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from actavatar_jax.errors import StoreError
from actavatar_jax.media.formats import VIDEO_SUFFIXES
from actavatar_jax.storage import Place, fetched, replaced_file
from data_pipelines.corpora.archives import DAMAGE, Damage, Member, read_members
from data_pipelines.corpora.layout import make_clip_id
from data_pipelines.table import Skip, StepReport

LARGEST_TEXT = 2**22  # bytes of a caption or prompt
_BLOCK = 1 << 20

Sample = dict[str, Place | bytes | Skip]  # by suffix: the unpacked video, what a text holds, why it cannot be used


def read_samples(tar: Place, name: str, unpacked: Place, report: StepReport) -> Iterator[tuple[str, Sample]]:
    """(key, sample) of a tar; the report, which calls it `name`, gets what is damaged, double or doubtful."""
    kinds, doubtful = set(), []  # which members samples have; samples beside a damage
    for key, sample, sound in _grouped(tar, name, unpacked, report):
        if sound:
            kinds.add(frozenset(sample))
            yield key, sample
        else:
            doubtful.append((key, sample))
    for key, sample in doubtful:
        if frozenset(sample) in kinds:
            yield key, sample
        else:
            report.add(
                f"{name}/{key}", "skipped", "torn sample", f"{tar} is damaged beside {key}, which may lack members"
            )


def _grouped(tar: Place, name: str, unpacked: Place, report: StepReport) -> Iterator[tuple[str, Sample, bool]]:
    """(key, sample, whether no damage is beside it); the damage and members that are double are told."""
    key, sample, sound, finished, after_damage = "", {}, True, set(), False
    for member in _readable(tar, name, report):
        member_key, suffix = _split(member.name) if member.name else (key, "")
        if member_key != key:
            if sample:
                yield key, sample, sound
            finished.add(key)
            key, sample, sound = member_key, {}, not after_damage
        after_damage = isinstance(member, Damage)
        if after_damage:
            place = f"byte {member.offset}"
            report.add(f"{name}/{place}", "skipped", "torn tar", f"{tar} at {place}: {member.what}")
            sound = False
        elif key in finished or suffix in sample:
            report.add(f"{name}/{member.name}", "skipped", "duplicate id", f"{tar} holds this member already")
        else:
            try:
                sample[suffix] = _content(member, suffix, f"{name}/{key}", unpacked)
            except _Torn as error:
                report.add(f"{name}/{member.name}", "skipped", "torn tar", f"{tar}: {member.name} breaks off: {error}")
                sound = False
                break
    if sample:
        yield key, sample, sound


def _readable(tar: Place, name: str, report: StepReport) -> Iterator[Member | Damage]:
    try:
        with fetched(tar) as local:
            yield from read_members(local)
    except StoreError:
        raise
    except OSError as error:
        report.add(name, "skipped", "unreadable", f"{tar} cannot be read ({error.strerror})")


class _Torn(Exception):  # noqa: N818  (it becomes a row of the report)
    """A member's contents are not all there."""


def _content(member: Member, suffix: str, place: str, unpacked: Place) -> Place | bytes | Skip:
    """A member's contents, those of a video as a file; nothing of what is of no use."""
    if suffix in VIDEO_SUFFIXES:
        if member.sparse:
            return Skip("sparse member", f"{place}{suffix} is a sparse file; pack it as a whole one")
        return _unpacked(member, unpacked / f"{make_clip_id(place)}{suffix}")
    if suffix not in (".json", ".txt"):
        return b""
    if member.size > LARGEST_TEXT:
        return Skip("too large", f"{place}{suffix} has {member.size:,} bytes; accepted are {LARGEST_TEXT:,}")
    return b"".join(_blocks(member))


def _unpacked(member: Member, path: Place) -> Place:
    if not (path.is_file() and path.stat().st_size == member.size):
        with replaced_file(path) as partial, partial.open("wb") as out:
            for block in _blocks(member):
                out.write(block)
    return path


def _blocks(member: Member) -> Iterator[bytes]:
    left = member.size
    while left:
        try:
            block = member.file.read(min(left, _BLOCK))
        except DAMAGE as error:
            raise _Torn(str(error)) from error
        if not block:
            raise _Torn(f"{left:,} of {member.size:,} bytes are missing")
        yield block
        left -= len(block)


def _split(member: str) -> tuple[str, str]:
    """Key and suffix of a member: the file name is cut at its first dot, as WebDataset does."""
    path = PurePosixPath(member)
    stem, dot, suffix = path.name.partition(".")
    return str(path.parent / (stem or "_")), f"{dot}{suffix}".lower()
