import json

import numpy as np
import pytest

from actavatar_jax.training.metrics import Recorder


def metrics(loss, noise_bin=0, grad_norm=1.0):
    count = np.eye(10)[noise_bin]
    return {
        "loss": np.float32(loss),
        "grad_norm": np.float32(grad_norm),
        "param_norm": np.float32(loss + 1),
        "learning_rate": np.float32(0.1),
        "noise_loss_sum": loss * count,
        "noise_count": count,
    }


def records(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_windows_are_averaged_and_a_short_last_one_is_written(tmp_path):
    recorder = Recorder(tmp_path, every=2, total=3, resumed_at=0)
    recorder.add(1, metrics(1.0, noise_bin=9))
    recorder.add(2, metrics(3.0, noise_bin=9))
    assert not (tmp_path / "metrics.jsonl").exists()  # step 2 is read when step 3 has been dispatched
    recorder.add(3, metrics(8.0, noise_bin=0))
    recorder.read()
    first, last = records(tmp_path)
    assert (first["step"], first["loss"], first["param_norm"]) == (2, 2.0, 4.0)
    assert first["loss_at_noise/0.9-1.0"] == 2.0
    assert "loss_at_noise/0.0-0.1" not in first
    assert (last["step"], last["loss"], last["seconds_left"]) == (3, 8.0, 0.0)
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_a_resumed_run_drops_records_beyond_its_checkpoint_and_cut_lines(tmp_path):
    kept = '{"step": 2, "loss": 1.0}'
    (tmp_path / "metrics.jsonl").write_text(f'{kept}\n{{"step": 4, "loss": 1.0}}\n{{"step": 6, "lo')
    Recorder(tmp_path, every=2, total=8, resumed_at=2)
    assert (tmp_path / "metrics.jsonl").read_text() == kept + "\n"


@pytest.mark.parametrize("broken", [{"loss": np.nan}, {"loss": 1.0, "grad_norm": np.inf}])
def test_what_is_not_finite_ends_the_run_naming_the_step(tmp_path, broken):
    recorder = Recorder(tmp_path, every=1, total=3, resumed_at=0)
    recorder.add(1, metrics(**broken))
    with pytest.raises(FloatingPointError, match="at step 1"):
        recorder.add(2, metrics(1.0))
