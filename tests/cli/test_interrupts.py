"""Ctrl-C in every phase of a video: one line, code 130, and nothing is left that is not whole."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from actavatar_jax.media import load_video
from actavatar_jax.puppets.recipe import SHIPPED
from tests.cli.interrupted import PHASES

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def sample(folder, *command):
    """(exit code, standard error without what is logged)"""
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    inputs = ["--image", folder / "face.png", "--audio", folder / "speech.wav", "--prompt", "A puppet. [0-0.4s] Waves."]
    options = ["--anyway", "--frames", 13, "--steps", 3, "--solver", "euler", "--preview", folder / "out"]
    arguments = ["sample", "--model", SHIPPED, *inputs, "--out", folder / "out" / "x.mp4", *options]
    done = subprocess.run(
        [sys.executable, "-m", *command, *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        timeout=600,
    )
    return done.returncode, [line for line in done.stderr.splitlines() if not line.startswith(("INFO: ", "WARNING: "))]


def test_ctrl_c_in_every_phase_leaves_nothing_behind_and_the_command_works_again(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / "face.png")
    wavfile.write(tmp_path / "speech.wav", 16_000, np.zeros(13 * 640, np.int16))
    out = tmp_path / "out"
    for phase in PHASES:
        assert sample(tmp_path, "tests.cli.interrupted", phase) == (130, ["Interrupted."]), phase
        assert not out.exists() or {path.name for path in out.iterdir()} <= {"x.png"}, phase
    assert sample(tmp_path, "actavatar_jax.cli") == (0, [])
    assert {path.name for path in out.iterdir()} == {"x.png", "x.mp4"}
    assert load_video(out / "x.mp4").frames.shape == (13, 128, 128, 3)
