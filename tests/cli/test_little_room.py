"""Commands on a disk that takes no more: a code, one sentence, and what was there is there still.

A limit on the size of files stands for the disk, since that needs no rights; where a small disk can be mounted, that.
"""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from actavatar_jax.puppets.demo import SHIPPED
from tests.data.fakes import write_clip
from tests.media.sounds import encode, tones

pytestmark = pytest.mark.slow

CODES = (2, 74)  # a job that failed; the system's refusal


def run(folder: Path, *arguments: object, limit: int | None = None) -> subprocess.CompletedProcess:
    def narrow():
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        [sys.executable, "-m", "actavatar_jax.cli", *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_COMPILATION_CACHE": "false"},
        preexec_fn=narrow,
        capture_output=True,
        text=True,
        timeout=300,
    )


def everything(folder: Path) -> dict[str, bytes]:
    """All files but locks, and journals of steps, which grow."""
    files = (path for path in folder.rglob("*") if path.is_file() and ".steps" not in path.parts)
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in files
        if path.suffix != ".lock" and path.name != ".lock"
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("little")
    Image.new("RGB", (64, 64), "gray").save(folder / "face.png")
    encode(folder / "speech.wav", tones(16000, 1.0, 300), 16000)
    for number in range(2):
        write_clip(folder / "videos" / f"{number}.mp4", frames=30, seed=number)
    prepared = run(folder, "prepare", "videos", "clips", "--min-frames", 10, "--min-side", 32, "--workers", 0)
    assert prepared.returncode == 0, prepared.stderr
    return folder


SAMPLE = ("sample", "--model", SHIPPED, "--image", "face.png", "--audio", "speech.wav", "--prompt", "A puppet.")
COMMANDS = {
    "sample": (*SAMPLE, "--anyway", "--out", "talk.mp4"),
    "export": ("export", SHIPPED, "exported"),
    "convert": ("convert", "to-torch", SHIPPED, "converted"),
    "prepare": ("prepare", "videos", "others", "--min-frames", 10, "--min-side", 32, "--workers", 0),
    "filter": ("filter", "clips", "--steps", "probe", "--workers", 0),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_disk_that_takes_no_more_loses_nothing(world, name):
    before = everything(world)
    ended = run(world, *COMMANDS[name], limit=1000)
    said = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert ended.returncode in CODES and len(said) == 1 and "Traceback" not in ended.stderr, ended.stderr
    assert everything(world) == before
    again = run(world, *COMMANDS[name])
    assert again.returncode == 0, again.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_disk_of_twelve_megabytes(world, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        ended = run(world, "export", SHIPPED, disk / "model")
        assert ended.returncode == 2 and "MB of disk, of which 13 MB are free" in ended.stderr, ended.stderr
        assert not (disk / "model").exists() and not list(disk.rglob("*.partial"))
        assert run(world, *SAMPLE, "--anyway", "--out", disk / "talk.mp4").returncode == 0
    finally:
        subprocess.run(["umount", disk], check=True)
