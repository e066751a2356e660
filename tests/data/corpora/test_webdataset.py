"""WebDataset tars, whole and torn."""

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest

from actavatar_jax.errors import InputError
from data_pipelines.corpora import read_corpus
from tests.data.corpora.on_disk import read, touch


def tar(path: Path, *members: tuple[str, bytes | str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            content = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


PROMPT = {"base": "A man.", "phases": [{"start": 0, "end": 1, "action": "Waves."}]}


def test_webdataset_samples_are_unpacked_beside_the_table(tmp_path):
    src = tmp_path / "wds"
    tar(src / "0.tar", ("x/a.mp4", "AAAA"), ("x/a.json", json.dumps({"caption": "A man."})), ("b.txt", "alone"))
    tar(src / "1.tar", ("x/a.mp4", "BB"), ("x/a.json", json.dumps(PROMPT)), ("c.mp4", "C"), ("c.txt", b"\xe9"))
    tar(src / "2.tar", ("d.mp4", "D1"), ("e.mp4", "E"), ("d.mp4", "D22"), ("f.mp4", "F"), ("f.json", "{"))
    clips, left_out = read("webdataset", src, tmp_path)
    assert left_out == {
        "skipped: caption not UTF-8": 1,
        "skipped: damaged annotation": 1,
        "skipped: duplicate id": 1,
        "skipped: no clip": 1,
    }
    by_key = {clip.facts["webdataset.key"]: clip for clip in clips.values()}
    assert sorted(by_key) == ["0.tar/x/a", "1.tar/x/a", "2.tar/d", "2.tar/e"]
    contents = {key: (tmp_path / "tables" / clip.source).read_bytes() for key, clip in by_key.items()}
    assert contents == {"0.tar/x/a": b"AAAA", "1.tar/x/a": b"BB", "2.tar/d": b"D1", "2.tar/e": b"E"}
    assert [by_key[f"{n}.tar/x/a"].caption for n in (0, 1)] == ["A man.", ""]
    prompt = (tmp_path / "tables" / by_key["1.tar/x/a"].source).with_suffix(".json")
    assert json.loads(prompt.read_text()) == PROMPT
    assert not list(tmp_path.rglob("*.partial"))


def test_a_key_ends_at_the_first_dot_of_the_file_name(tmp_path):
    """As WebDataset has it, whatever dots folders have: what comes behind is the suffix."""
    src = tmp_path / "wds"
    members = [("v1.0/a.mp4", "A"), ("v1.0/a.json", json.dumps({"caption": "A man."})), ("v1.0/a.sync.json", "{}")]
    tar(src / "0.tar", *members, ("b.left.mp4", "L"), ("b.right.mp4", "R"), ("b.txt", "Two."), ("c.MP4", "C"))
    clips, left_out = read("webdataset", src, tmp_path)
    by_key = {clip.facts["webdataset.key"]: clip for clip in clips.values()}
    assert sorted(by_key) == ["0.tar/c", "0.tar/v1.0/a"] and by_key["0.tar/v1.0/a"].caption == "A man."
    assert left_out == {"skipped: no clip": 1}  # of the sample b, whose members are .left.mp4, .right.mp4 and .txt


def test_of_half_a_tar_the_whole_samples_are_used(tmp_path):
    video = bytes(range(256)) * 40
    whole = tar(tmp_path / "whole.tar", *((f"{k}{suffix}", video) for k in "abc" for suffix in (".mp4", ".wav")))
    content = whole.read_bytes()
    sizes = {}
    for end in (*range(700, 6 * 10752, 3777), 2 * 10752, 3 * 10752 + 100, 6 * 10752):  # in members, headers, between
        part = tmp_path / str(end) / "part.tar"
        touch(part)
        part.write_bytes(content[:end])
        try:
            clips, left_out = read("webdataset", part, tmp_path / str(end))
        except InputError:
            clips, left_out = {}, None
        assert all((tmp_path / str(end) / "tables" / c.source).read_bytes() == video for c in clips.values())
        assert left_out is None or left_out.pop("skipped: torn tar") == 1
        assert left_out in (None, {}, {"skipped: torn sample": 1})
        sizes[end] = len(clips)
    assert list(sizes.values()).count(0) > 3
    assert sizes.pop(6 * 10752) == 3  # the last one has what the others have
    assert all(clips == max(0, (end - 1) // (2 * 10752)) for end, clips in sizes.items())


def test_half_a_compressed_tar(tmp_path):
    whole = tar(tmp_path / "whole.tar", ("a.mp4", "A" * 9000), ("b.mp4", bytes(range(256)) * 900))
    packed = tmp_path / "part.tar.gz"
    packed.write_bytes(gzip.compress(whole.read_bytes(), 0)[:60_000])
    clips, left_out = read("webdataset", packed, tmp_path)
    assert [clip.facts["webdataset.key"] for clip in clips.values()] == ["part.tar.gz/a"]
    assert left_out == {"skipped: torn tar": 1}


def test_webdataset_of_another_layout_is_refused(tmp_path):
    src = tar(tmp_path / "0.tar", ("a.mp4", "A"), ("a.json", json.dumps({"title": "A man."})))
    with pytest.raises(InputError, match=r"0\.tar/a\.json: no text under 'base' or 'caption' or 'text'; there is tit"):
        read_corpus("webdataset", src, tmp_path / "t.parquet")


def ten(tmp_path, *suffixes: str) -> bytes:
    """A tar of ten samples."""
    members = [
        (f"s{k}{suffix}", f"{k}" * 700 if suffix == ".mp4" else "A man.") for k in range(10) for suffix in suffixes
    ]
    return tar(tmp_path / "whole.tar", *members).read_bytes()


def headers(content: bytes) -> list[int]:
    return [at for at in range(0, len(content), 512) if content[at + 257 : at + 262] == b"ustar"]


@pytest.mark.parametrize("packing", [".tar", ".tar.gz"])
@pytest.mark.parametrize("byte", [0, 124, 150, 156, 300])
def test_a_damaged_header_costs_its_member_only(tmp_path, packing, byte):
    content = bytearray(ten(tmp_path, ".mp4"))
    content[headers(content)[3] + byte] ^= 1 << 2
    (tmp_path / f"ten{packing}").write_bytes(content if packing == ".tar" else gzip.compress(content))
    clips, left_out = read("webdataset", tmp_path / f"ten{packing}", tmp_path)
    assert sorted(clip.facts["webdataset.key"][-2:] for clip in clips.values()) == [
        f"s{k}" for k in range(10) if k != 3
    ]
    assert left_out == {"skipped: torn tar": 1}


def test_what_stands_beside_a_damage_counts_if_it_is_like_others(tmp_path):
    content = bytearray(ten(tmp_path, ".mp4", ".txt"))
    content[headers(content)[7]] ^= 1  # s3.txt
    (tmp_path / "ten.tar").write_bytes(content)
    clips, left_out = read("webdataset", tmp_path / "ten.tar", tmp_path)
    keys = sorted(clip.facts["webdataset.key"][-2:] for clip in clips.values())
    assert keys == [f"s{k}" for k in range(10) if k != 3]
    assert {clip.caption for clip in clips.values()} == {"A man."}
    assert left_out == {"skipped: torn sample": 1, "skipped: torn tar": 1}


@pytest.mark.parametrize("size", [-1536, 2**62, 2**33])
def test_a_header_that_claims_too_much_is_damaged(tmp_path, size):
    content = bytearray(ten(tmp_path, ".mp4"))
    at = headers(content)[3]
    content[at + 124 : at + 136] = (
        size.to_bytes(12, "big", signed=True) if size < 0 else (b"\x80" + size.to_bytes(11, "big"))
    )
    content[at + 148 : at + 156] = b"%06o\0 " % (
        sum(content[at : at + 148]) + 8 * 32 + sum(content[at + 156 : at + 512])
    )
    (tmp_path / "ten.tar").write_bytes(content)
    clips, left_out = read("webdataset", tmp_path / "ten.tar", tmp_path)
    assert len(clips) == 9 and left_out == {"skipped: torn tar": 1}


@pytest.mark.parametrize("kind", [b"L", b"K", b"x", b"g"])
def test_a_name_of_gigabytes_is_damage(tmp_path, kind):
    header = bytearray(tarfile.TarInfo("././@LongLink").tobuf(tarfile.GNU_FORMAT))
    header[124:136], header[156:157] = b"\x80" + (2**40).to_bytes(11, "big"), kind
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:]))
    content = bytearray(ten(tmp_path, ".mp4"))
    content[headers(content)[3] : headers(content)[3]] = header
    (tmp_path / "ten.tar").write_bytes(content)
    clips, left_out = read("webdataset", tmp_path / "ten.tar", tmp_path)
    assert len(clips) == 10 and left_out == {"skipped: torn tar": 1}


def test_a_text_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("data_pipelines.corpora.samples.LARGEST_TEXT", 1000)
    src = tar(tmp_path / "0.tar", ("a.mp4", "A"), ("a.txt", "x" * 1001), ("b.mp4", "B"), ("b.jpg", "x" * 5000))
    clips, left_out = read("webdataset", src, tmp_path)
    assert [clip.facts["webdataset.key"] for clip in clips.values()] == ["0.tar/b"]
    assert left_out == {"skipped: too large": 1}


def test_holes_are_not_unpacked(tmp_path):
    """A GNU sparse file that claims 64 GiB in a few blocks."""
    header = bytearray(tarfile.TarInfo("a.mp4").tobuf(tarfile.GNU_FORMAT))
    header[124:136], header[156:157] = b"00000001000\0", b"S"  # what is stored; its type
    header[386:410], header[483:495] = b"%011o\0%011o\0" % (0, 512), b"\x80" + (2**36).to_bytes(11, "big")
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:]))
    (tmp_path / "0.tar").write_bytes(bytes(header) + b"x" * 512 + ten(tmp_path, ".mp4"))
    clips, left_out = read("webdataset", tmp_path / "0.tar", tmp_path)
    assert len(clips) == 10 and left_out == {"skipped: sparse member": 1}


def test_odd_names_of_members_are_no_end(tmp_path):
    names = ("", "/", ".mp4", "..mp4", "x/.mp4", "caf\udce9.mp4", "../../up.mp4", "a\nb.mp4", f"{'n' * 300}.mp4")
    src = tar(tmp_path / "0.tar", *((name, f"{k}") for k, name in enumerate(names)), ("s.mp4", "S"))
    clips, _ = read("webdataset", src, tmp_path)
    assert "0.tar/s" in {clip.facts["webdataset.key"] for clip in clips.values()}
    unpacked = tmp_path / "tables" / "corpus.videos"
    assert all(path.parent == unpacked for path in tmp_path.rglob("*.mp4"))
