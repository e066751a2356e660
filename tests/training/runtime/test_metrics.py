import json

import numpy as np
import pytest

from actavatar_jax.training.runtime import metrics as metrics_module
from actavatar_jax.training.runtime.metrics import Goodput, Recorder


def metrics(loss, noise_bin=0, grad_norm=1.0, skipped=(0, 0)):
    count = np.eye(10)[noise_bin]
    sums = np.full(10, loss) if np.isnan(loss) else loss * count
    return {
        "loss": np.float32(loss),
        "grad_norm": np.float32(grad_norm),
        "param_norm": np.float32(loss + 1),
        "learning_rate": np.float32(0.1),
        "noise_loss_sum": sums,
        "noise_count": count,
        "skipped": np.array(skipped, np.int32),
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


def test_skipped_steps_are_counted_and_left_out_of_the_means(tmp_path, caplog):
    recorder = Recorder(tmp_path, every=2, total=4, resumed_at=0)
    recorder.add(1, metrics(1.0, noise_bin=3))
    assert recorder.loss is None  # nobody knows it yet
    recorder.add(2, metrics(np.nan, noise_bin=3, grad_norm=np.nan, skipped=(1, 5)))
    recorder.add(3, metrics(np.nan, skipped=(2, 6)))
    assert recorder.loss == 1.0
    recorder.add(4, metrics(np.nan, skipped=(3, 7)))
    recorder.read()
    assert (recorder.in_a_row, recorder.usable) == (3, 1)
    first, last = records(tmp_path)
    assert (first["loss"], first["grad_norm"], first["skipped"]) == (1.0, 1.0, 5)
    assert first["loss_at_noise/0.3-0.4"] == 1.0
    assert last["skipped"] == 7 and "loss" not in last  # NaN is no JSON
    assert "Step 2 is skipped (loss nan, gradient norm nan), 1 in a row." in caplog.text


def test_too_many_skipped_steps_in_a_row_end_the_run(tmp_path):
    recorder = Recorder(tmp_path, every=10, total=30, resumed_at=0, bad_steps=2)
    recorder.add(1, metrics(np.nan, skipped=(1, 8)))
    recorder.add(2, metrics(7.0, grad_norm=1e9, skipped=(2, 9)))
    with pytest.raises(FloatingPointError, match=r"2 steps in a row .* at step 2 with loss 7, gradient norm 1e\+09"):
        recorder.add(3, metrics(1.0))


def test_what_is_not_finite_is_told_and_not_recorded(tmp_path, caplog):
    Recorder(tmp_path, every=1, total=3, resumed_at=0).write({"step": 2, "heldout/loss": np.nan, "other": 1.0})
    assert records(tmp_path) == [{"step": 2, "other": 1.0}]
    assert "At step 2 not finite, and not recorded: heldout/loss." in caplog.text


class Clock:
    """`time` with hands that the test moves."""

    now = 1000.0

    def time(self):
        return self.now

    monotonic = time


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(metrics_module, "time", clock)
    return clock


def test_speed_and_utilisation_count_steps_alone(tmp_path, clock):
    recorder = Recorder(tmp_path, every=4, total=8, resumed_at=0, peak=1e12)
    for step, seconds in enumerate([100.0, 2.0, 2.0, 50.0, 2.0], start=1):  # 100 compile, 50 go to a checkpoint
        if step == 4:
            recorder.read()
            recorder.pause()
        clock.now += seconds
        recorder.add(step, metrics(1.0), flops=1e12)
    first = records(tmp_path)[0]
    assert first["steps_per_second"] == pytest.approx(0.5)
    assert first["seconds_left"] == pytest.approx(8.0)
    assert first["mfu"] == pytest.approx(0.5)
    assert first["goodput"] == pytest.approx(4 / 156)


def test_goodput_goes_on_over_restarts_and_forgets_what_was_lost(tmp_path, clock):
    first = Goodput(tmp_path / "goodput.json", resumed_at=0)
    clock.now += 50
    assert first.add(10, 40.0) == pytest.approx(0.8)
    clock.now += 40
    first.add(20, 40.0)
    clock.now += 10  # killed and restarted; the last checkpoint was that of step 15
    again = Goodput(tmp_path / "goodput.json", resumed_at=15)
    clock.now += 100
    assert again.add(20, 60.0) == pytest.approx(0.5)


def test_processes_that_do_not_write_still_watch(tmp_path):
    recorder = Recorder(tmp_path / "none", every=1, total=3, resumed_at=0, bad_steps=1, writing=False)
    recorder.add(1, metrics(np.nan, skipped=(1, 1)))
    with pytest.raises(FloatingPointError):
        recorder.read()
    assert not (tmp_path / "none").exists()
