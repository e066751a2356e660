"""Commands that write a model or videos, killed at random moments and started again: what is there is always whole."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from actavatar_jax.media import load_video
from actavatar_jax.puppets.demo import SHIPPED
from actavatar_jax.weights import check_parts
from tests.media.sounds import encode, tones

pytestmark = pytest.mark.slow

KILLS = 4


def start(folder: Path, *arguments: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "actavatar_jax.cli", *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "XDG_CACHE_HOME": str(folder / "cache")},
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen) -> tuple[int, str]:
    said = process.communicate(timeout=300)[1]
    return process.returncode, said


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def kill_and_end(folder: Path, check, *arguments: object) -> None:
    """Kills the command several times between its beginning and its usual end, with a `check` after each kill."""
    rng, begin = random.Random(0), time.monotonic()
    shutil.copytree(folder, whole := folder.with_name("undisturbed"))
    assert end(start(whole, *arguments))[0] == 0
    usual = time.monotonic() - begin
    for _ in range(KILLS):
        process = start(folder, *arguments)
        time.sleep(rng.uniform(0.4, 1.0) * usual)
        process.send_signal(signal.SIGKILL)
        code = end(process)[0]
        check(folder)
        if code == 0:
            break
    code, said = end(start(folder, *arguments))
    assert code == 0 or "is there already" in said, said
    assert not [path for path in folder.rglob("*.partial") if "cache" not in path.parts]


def test_an_export_is_whole_or_not_there(tmp_path):
    (folder := tmp_path / "work").mkdir()

    def check(folder: Path) -> None:
        if (folder / "exported").exists():
            check_parts(folder / "exported")

    kill_and_end(folder, check, "export", SHIPPED, "exported")
    assert files(folder / "exported") == files(tmp_path / "undisturbed" / "exported")


@pytest.fixture
def jobs(tmp_path):
    (folder := tmp_path / "work").mkdir()
    Image.new("RGB", (64, 64), "gray").save(folder / "face.png")
    encode(folder / "speech.wav", tones(16000, 1.0, 300), 16000)
    row = {"image": "face.png", "audio": "speech.wav", "prompt": "A puppet.", "anyway": True, "num_frames": 13}
    rows = [row | {"seed": number, "out": f"{number}.mp4"} for number in range(4)]
    (folder / "jobs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def check_videos(folder: Path) -> None:
    for path in folder.glob("*.mp4"):
        assert len(load_video(path).frames) == 13


def test_jobs_go_on_and_leave_whole_videos(jobs, tmp_path):
    kill_and_end(jobs, check_videos, "sample", "--model", SHIPPED, "--jobs", "jobs.jsonl")
    made, undisturbed = ({p.name: p.read_bytes() for p in x.glob("*.mp4")} for x in (jobs, tmp_path / "undisturbed"))
    assert made == undisturbed and len(made) == 4


def test_of_two_that_make_the_same_videos_at_once_one_ends_with_a_sentence(jobs):
    both = [start(jobs, "sample", "--model", SHIPPED, "--jobs", "jobs.jsonl") for _ in range(2)]
    (code, _), (other, said) = sorted(map(end, both))
    assert (code, other) == (0, 2) and "is being worked through by another process" in said
    check_videos(jobs)
    assert len(list(jobs.glob("*.mp4"))) == 4 and not list(jobs.glob("*.partial"))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a folder that can only be read needs root")
def test_a_folder_that_can_only_be_read_is_told_before_the_model_is_loaded(jobs, tmp_path):
    (disk := tmp_path / "disk").mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", disk], capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        single = ("--image", "face.png", "--audio", "speech.wav", "--prompt", "A puppet.", "--anyway")
        for arguments in (
            ("sample", "--model", SHIPPED, *single, "--out", disk / "x.mp4"),
            ("export", SHIPPED, disk / "m"),
        ):
            code, said = end(start(jobs, *arguments))
            told = [line for line in said.splitlines() if line.startswith("error: ")]
            assert code in (2, 74) and len(told) == 1 and "Traceback" not in said, said
            assert "Parts that wait" not in said and ("read-only" in said or "may be written" in said), said
    finally:
        subprocess.run(["umount", disk], check=True)
