"""The members of a tar, whole or damaged: where a header cannot be read, reading goes on with the next one that can.

Python's `tarfile` takes a damaged header for the end of the archive, and believes any size that a header claims.
"""

import io
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data_pipelines.corpora.layout import printable

DAMAGE = (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError, ValueError, OverflowError)
LARGEST_MEMBER = 2**40  # bytes; a header that claims more is damaged
FARTHEST = 2**30  # bytes that are searched for the next header
LARGEST_NOTE = 2**17  # bytes of a long name and the like, which come before a member and are read at once
_NOTES = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)
_BLOCK, _MAGIC = tarfile.BLOCKSIZE, slice(257, 262)  # b"ustar" there, in all forms of the last thirty years


@dataclass(frozen=True)
class Member:
    """A regular file in an archive, to be read before the next one is asked for."""

    name: str
    size: int
    sparse: bool  # holes take no room in the archive
    file: io.BufferedReader


@dataclass(frozen=True)
class Damage:
    """A place where the archive cannot be read: what stood before it and what comes next may lack members."""

    offset: int  # bytes from the beginning of the archive, unpacked
    what: str
    name: str = ""  # of the member that is torn, where its header could be read


def read_members(tar: Path) -> Iterator[Member | Damage]:
    """Regular files in their order, and what is damaged between them. OSError where the tar cannot be opened."""
    with tar.open("rb") as raw:
        archive, block = None, [b""]
        try:
            archive = tarfile.open(fileobj=raw, mode="r:*", tarinfo=_recording(block))  # noqa: SIM115
            yield from _members(archive, block, tar.stat().st_size)
        except DAMAGE as error:
            yield Damage(archive.offset if archive else 0, str(error) or type(error).__name__)


def _members(archive: tarfile.TarFile, block: list[bytes], size: int) -> Iterator[Member | Damage]:
    """`block` has the header that was read last, `size` is the archive's if it is not compressed."""
    size = size if isinstance(archive.fileobj, io.BufferedReader) else LARGEST_MEMBER
    while True:
        try:
            member, what = archive.next(), "the header is damaged"
        except tarfile.ReadError as error:
            member, what = None, str(error)
        archive.members = []  # it would keep them all
        if (
            member is not None
            and 0 <= member.size <= LARGEST_MEMBER
            and (member.issparse() or member.offset_data + member.size <= size)
        ):
            if member.isfile():
                yield Member(printable(member.name), member.size, member.issparse(), archive.extractfile(member))
            continue
        if member is not None:
            what = f"{member.name} claims {member.size:,} bytes, which are not there"
            archive.offset = member.offset_data - _BLOCK
        elif len(block[0]) < _BLOCK:
            what = "it breaks off"
        elif not any(block[0]):
            return
        yield Damage(archive.offset, what, printable(member.name) if member else "")
        if not _find_header(archive):
            return


def _find_header(archive: tarfile.TarFile) -> bool:
    """Moves on to the next block that looks like a header."""
    begin = archive.offset + _BLOCK
    archive.fileobj.seek(begin)
    for offset in range(begin, begin + FARTHEST, _BLOCK):
        block = archive.fileobj.read(_BLOCK)
        if len(block) < _BLOCK:
            return False
        if block[_MAGIC] == b"ustar":
            archive.offset = offset
            return True
    return False


def _recording(latest: list[bytes]) -> type[tarfile.TarInfo]:
    """Headers that put the block they are read from into `latest`: `tarfile` does not say why an archive ends.

    One that announces a name of gigabytes is damaged.
    """

    class Header(tarfile.TarInfo):
        @classmethod
        def frombuf(cls, buf: bytes, encoding: str, errors: str) -> tarfile.TarInfo:
            latest[0] = buf
            header = super().frombuf(buf, encoding, errors)
            if header.type in _NOTES and not 0 <= header.size <= LARGEST_NOTE:
                raise tarfile.InvalidHeaderError("too long a name")
            return header

    return Header
