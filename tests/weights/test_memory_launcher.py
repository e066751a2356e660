"""`launch/weights_memory.py` with a network of a toy: the trainings that it starts really start."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, ROOT / "launch" / "weights_memory.py"]


@pytest.mark.slow
def test_two_processes_start_a_training_and_leave_nothing_behind(tmp_path):
    folder = tmp_path / "weights"
    command = [*PROGRAM, "start", folder, "--size", "tiny", "--processes", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()[-1:]
    holds, peak, beside = map(float, re.findall(r"([\d.]+) GiB", line))
    assert "in 2 processes" in line and holds < 0.01 and 0.2 < peak < 2
    assert beside == pytest.approx(peak - holds, abs=0.02) and not folder.exists()


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("")
    wide = os.environ | {"COLUMNS": "500"}  # the sentence in one line
    done = subprocess.run([*PROGRAM, "start", tmp_path], capture_output=True, text=True, timeout=300, env=wide)
    assert done.returncode == 2 and "is there already" in done.stderr and (tmp_path / "mine").exists()
