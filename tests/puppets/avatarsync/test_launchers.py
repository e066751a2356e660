"""The programs of docs/avatarsync.md that go on from a model folder, as processes: a toy with random weights."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.avatarsync import open_part, save_parts
from actavatar_jax.puppets.avatarsync import ablation
from tests.avatarsync.tiny import tiny_parts

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
QUICK = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "PYTHONPATH": str(ROOT)}  # much is compiled, little run


def launch(script, *options):
    """Its output, when it has ended well."""
    command = [sys.executable, ROOT / "launch" / script, "--config", ROOT / "configs/avatarsync.py:runlocal", *options]
    result = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=600, env=QUICK)
    assert result.returncode == 0, result.stderr
    return result.stdout


def weights(folder, name):
    return functional.flatten(open_part(folder, name).params)


def test_trainings_go_on_from_a_model_folder_and_rows_are_compared(tmp_path):
    pytest.importorskip("espeakng_loader")
    model, workdir = tmp_path / "model", tmp_path / "run"
    save_parts(model, tiny_parts())
    start = ("--workdir", workdir, "--start", model, "--config.test_clips=1")
    launch("avatarsync.py", *start, "--keep", "tokenizer,interpolator", "--until", "interpolator")
    before, after = ({name: weights(place, name) for name in ablation.KEPT} for place in (model, workdir / "parts"))
    for name in ablation.KEPT:
        assert not (workdir / name).exists()  # nothing was trained
        assert all((after[name][key] == value).all() for key, value in before[name].items())
    moved = weights(workdir / "parts", "keyframes")
    steps = [np.abs(moved[key] - value).max() for key, value in weights(model, "keyframes").items()]
    assert 0 < max(steps) < 0.01  # four steps away from where it began

    last = list(ablation.ROWS).index("one_to_one_word") + 1
    shown = launch("avatarsync_ablation.py", *start, "--seeds", 1, "--part", f"{last}/{len(ablation.ROWS)}")
    table = (workdir / "table.md").read_text()
    assert table in shown and [line.endswith("| 1 |") for line in table.splitlines()[2:]] == [False] * 4 + [True]
    place = ablation.folder(workdir, "one_to_one_word", 1)
    assert open_part(place / "model", "keyframes").config.level == "words"
    assert {path.name for path in place.iterdir()} >= {"keyframes", "parts", "model", "scores.json", "progress.png"}
    assert not (place / "heads").exists() and not (place / "tokenizer").exists()  # shared, and kept
