"""Any mesh gives the numbers of one device, and exchanges what it should and no more.

Devices are forced CPU ones, which must be there before jax starts: everything runs in other processes.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def start(module, *arguments, devices):
    flags = f"--xla_force_host_platform_device_count={devices}"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)  # warnings of XLA are looked for
    command = [sys.executable, "-m", f"tests.parallel.{module}", *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)


def finish(process):
    out, err = process.communicate(timeout=1200)
    assert process.returncode == 0, err
    assert "rematerialization" not in err.lower()
    return out, err


def reports(name):
    out, err = finish(start("eight_devices", name, devices=8))
    return [json.loads(line) for line in out.splitlines()], err


def test_training_on_any_mesh_is_training_on_one_device():
    found = {report["mesh"]: report for report in reports("training")[0]}
    assert list(found) == ["8,1,1", "1,8,1", "2,1,4", "2,2,2"]
    for report in found.values():
        assert max(report["loss"], report["gradient"], report["average"]) < 1e-5, report
        assert report["not_in_place"] < 4096, report  # metrics, and a pointer for each array
    exchanges = {mesh: (report["forward"], report["backward"]) for mesh, report in found.items()}
    # Ulysses: one exchange before and one after each self-attention; frames of audio and text stay where they are.
    assert exchanges == {"8,1,1": (0, 0), "1,8,1": (0, 0), "2,1,4": (2, 2), "2,2,2": (2, 2)}


def test_the_other_system_trains_on_a_mesh_as_on_one_device():
    found, _ = reports("echomimic")
    assert len(found) == 2
    for report in found:
        assert max(report["loss"], report["gradient"]) < 1e-5 < 1e-3 < report["moved"], report


def test_the_other_system_samples_on_a_mesh_as_on_one_device():
    (found,), _ = reports("echomimic_video")
    assert found["video"] < 1e-2 < 1 < found["other"]


def test_activations_smaller_than_the_matrices_are_not_cut_like_them():
    """Else XLA warns that it gathers whole ones ("full rematerialization"), which `finish` refuses."""
    assert reports("small")[0] == [{"compiled": True}]


def test_samples_and_videos_are_those_of_one_device():
    (latents, limited, video), _ = reports("sampling")
    assert latents["latents"] < 1e-5 < latents["size"]
    assert max(limited["limited"]) < 1e-5 < 1e-2 < limited["effect"]
    assert limited["watched"] == [3, 2]  # steps, and a program for one and for two branches
    assert video == {"video": video["video"], "columns": True} and video["video"] < 1e-5


def test_the_pipeline_takes_a_mesh():
    """One device, eight, eight as a training uses them for its sample videos, and with another video beside it; and
    a video that goes on, in TIE's form."""
    (found,), _ = reports("pipeline")
    assert found["devices"] == [1, 8, 8]
    assert len(found["frames"]) == 4 and max(found["frames"]) <= 1 < found["range"]
    assert found["other"] > 1  # another seed
    assert found["tie"] <= 1 and found["untied"] > 0.1  # another form of time, from five frames on


def test_two_processes_train_like_one(tmp_path):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    pair = [start("two_process", port, i, 2, tmp_path / "two.npz", devices=4) for i in range(2)]
    printed = [finish(process)[0] for process in pair]
    assert "rows [0, 1, 2, 3]" in printed[0] and "rows [4, 5, 6, 7]" in printed[1]
    assert all("shared [0, 0, 0]" in text for text in printed)  # what the first process has made
    refused = [text.partition("refused: ")[2].strip() for text in printed]
    assert "absent.png" in refused[1] and refused[0] == f"{refused[1]} So says process 1."
    finish(start("two_process", port, 0, 1, tmp_path / "one.npz", devices=8))
    two, one = np.load(tmp_path / "two.npz"), np.load(tmp_path / "one.npz")
    assert set(two) == set(one)
    for name in one:
        np.testing.assert_allclose(two[name], one[name], rtol=0, atol=1e-6, err_msg=name)
