"""Videos that cannot be written: one sentence, what was there stays, nothing is left behind."""

import os
import resource
import signal

import numpy as np
import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.media import Video, probe

NOISE = np.random.default_rng(0).integers(0, 256, (30, 64, 64, 3), dtype=np.uint8)


def refusal(path):
    with pytest.raises(InputError) as caught:
        Video(NOISE, np.zeros(3200, np.float32)).save(path)
    text = str(caught.value)
    assert "\n" not in text and len(text) <= 400 and "cannot be written" in text and text.endswith(".")
    return text


def test_what_is_in_the_way(tmp_path):
    (tmp_path / "folder.mp4").mkdir()
    assert "a folder of this name" in refusal(tmp_path / "folder.mp4")
    (tmp_path / "file").write_text("here first")
    assert refusal(tmp_path / "file" / "x.mp4")
    assert (tmp_path / "file").read_text() == "here first"
    assert "too long" in refusal(tmp_path / ("x" * 300 + ".mp4"))
    assert refusal(tmp_path / "a\0b.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.mp4"]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_no_permission(tmp_path):
    tmp_path.chmod(0o500)
    assert "permission denied" in refusal(tmp_path / "x.mp4")


@pytest.mark.parametrize("limit", [0, 500, 20_000])
def test_no_space(tmp_path, limit):
    """As where a disk is full, a file cannot grow; what was there stays, and what was begun is gone."""
    path = tmp_path / "x.mp4"
    path.write_bytes(b"older")
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        assert "file too large" in refusal(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b"older" and list(tmp_path.iterdir()) == [path]
    Video(NOISE).save(path)
    assert probe(path).frames == 30
