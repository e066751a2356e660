"""Checkpoints that are damaged, unfinished or cannot be written: what is there is kept, and every loss is told."""

import os
import resource

import grain
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.training.runtime.checkpoint import Checkpoints
from actavatar_jax.training.state import TrainState

SETTINGS = {"optim": {"clip": 1.0}, "steps": 8}


class Counter(grain.DatasetIterator):
    """Data whose place is a number."""

    def __init__(self, place=0):
        super().__init__()
        self.place = place

    def __next__(self):
        raise NotImplementedError

    def get_state(self):
        return {"next_index": self.place}

    def set_state(self, state):
        self.place = state["next_index"]


def state(step, size=3000):
    values = np.random.default_rng(step).standard_normal((2, size)).astype(np.float32)
    params = {"a": {"kernel": jnp.asarray(values[0])}}
    moments = {"a": {"kernel": jnp.asarray(values[1], jnp.bfloat16)}}
    return TrainState(jnp.int32(step), params, {}, moments, None)


def same(left, right):
    return int(left.step) == int(right.step) and all(
        np.array_equal(getattr(left, half)["a"]["kernel"], getattr(right, half)["a"]["kernel"])
        for half in ("params", "opt_state")
    )


def write(folder, *steps):
    with Checkpoints(folder, SETTINGS) as checkpoints:
        for step in steps:
            checkpoints.save(state(step), Counter(step))


def restored(folder):
    """(state, place in the data) that a new run finds."""
    batches = Counter()
    with Checkpoints(folder, SETTINGS) as checkpoints:
        return checkpoints.restore(state(0), batches), batches.place


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def array_file(folder):
    """The file with the most bytes: values of an array."""
    return max(files(folder / "state"), key=lambda path: path.stat().st_size)


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x55
    path.write_bytes(data)


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("damage", [os.unlink, cut, flip], ids=["missing", "cut", "flipped"])
@pytest.mark.parametrize("what", ["array", "data", "config", "sums"])
def test_a_damaged_checkpoint_is_told_and_set_aside_for_the_one_before(tmp_path, caplog, damage, what):
    write(tmp_path, 4, 8)
    damage(array_file(tmp_path / "8") if what == "array" else tmp_path / "8" / what / "metadata")
    found, place = restored(tmp_path)
    assert same(found, state(4)) and place == 4
    assert "The checkpoint of step 8 is damaged" in caplog.text
    assert "goes on from the checkpoint of step 4" in caplog.text
    assert (tmp_path / "8.damaged").is_dir()
    write(tmp_path, 8)  # its place is free again
    found, place = restored(tmp_path)
    assert same(found, state(8)) and place == 8


def test_no_checkpoint_that_can_be_read_is_an_error_and_never_a_fresh_start(tmp_path):
    write(tmp_path, 4, 8)
    for step in ("4", "8"):
        cut(array_file(tmp_path / step))
    before = files(tmp_path)
    with pytest.raises(InputError, match=r"None of the checkpoints in .* \(steps 8, 4; .*move that folder away"):
        restored(tmp_path)
    assert files(tmp_path) == before


def test_what_a_kill_left_unfinished_is_removed_and_the_one_before_is_used(tmp_path, caplog):
    write(tmp_path, 4, 8)
    (tmp_path / "8").rename(tmp_path / "8.orbax-checkpoint-tmp")  # as Orbax names it until it is whole
    found, place = restored(tmp_path)
    assert same(found, state(4)) and place == 4
    assert "8.orbax-checkpoint-tmp: a checkpoint that was not finished" in caplog.text
    assert not (tmp_path / "8.orbax-checkpoint-tmp").exists()


def test_a_full_disk_harms_nothing_that_is_there(tmp_path, caplog):
    write(tmp_path, 4, 8)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Checkpoints(tmp_path, SETTINGS) as checkpoints:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
        try:
            checkpoints.save(state(12, size=100_000), Counter(12))
            assert not checkpoints.wait()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert "The checkpoint of step 12 could not be written" in caplog.text
        assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["4", "8"]
        assert same(checkpoints.restore(state(0), Counter()), state(8))
        checkpoints.save(state(16), Counter(16))  # room again
        assert checkpoints.wait()
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["16", "4", "8"]


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def test_the_sound_one_stays_until_a_newer_one_has_proven_sound(tmp_path):
    write(tmp_path, 10, 40, 41, 42)
    write(tmp_path, 43)  # by another process, which knows no more than what is there
    assert names(tmp_path) == ["10", "40", "42", "43"]
    write(tmp_path, 60)
    assert names(tmp_path) == ["40", "42", "43", "60"]


def test_after_a_divergence_the_run_goes_on_from_the_sound_one(tmp_path, caplog):
    write(tmp_path, 40, 80, 85)
    for again in range(2):  # the second time it comes no further
        with Checkpoints(tmp_path, SETTINGS) as checkpoints:
            assert checkpoints.set_unproven_aside(reached=90 - again) == 40
    assert names(tmp_path) == ["40", "80.diverged", "85.diverged"]
    assert "checkpoints of step 80, 85" in caplog.text
    found, place = restored(tmp_path)
    assert same(found, state(40)) and place == 40
    write(tmp_path, 80)  # its place is free again
    found, _ = restored(tmp_path)
    assert same(found, state(80))


def test_a_divergence_before_the_first_checkpoint_is_told(tmp_path):
    with Checkpoints(tmp_path, SETTINGS) as checkpoints:
        assert checkpoints.set_unproven_aside(reached=3) is None


def test_what_files_hold_has_to_be_the_same_and_not_where_they_lie(tmp_path):
    def opened(folder, digests, place):
        contents = {} if digests is None else {"contents of data.dirs": digests}
        settings = SETTINGS | {"data": {"dirs": [place]}} | contents
        return Checkpoints(folder, settings, {"data.dirs"})

    for then, (digests, place) in (("new", (["1f"], "a")), ("old", (None, "a"))):
        with opened(tmp_path / then, digests, place) as checkpoints:
            checkpoints.save(state(4), Counter())
    with opened(tmp_path / "new", ["1f"], "b") as checkpoints:
        assert int(checkpoints.restore(state(0), Counter()).step) == 4
    with (
        opened(tmp_path / "new", ["2e"], "a") as checkpoints,
        pytest.raises(InputError, match=r"contents of data.dirs \(\['1f'\] then, \['2e'\] now\)"),
    ):
        checkpoints.check_settings()
    with opened(tmp_path / "old", ["1f"], "a") as checkpoints:  # from before contents were written down
        checkpoints.check_settings()
    with opened(tmp_path / "old", ["1f"], "b") as checkpoints, pytest.raises(InputError, match=r"data.dirs \(\['a'\]"):
        checkpoints.check_settings()


def test_what_has_changed_since_is_told(tmp_path, caplog):
    write(tmp_path, 4)
    caplog.set_level("INFO", "actavatar_jax")
    with Checkpoints(tmp_path, SETTINGS | {"optim": {"clip": 0.5}}, {"optim"}) as checkpoints:
        checkpoints.restore(state(0), Counter())
    assert "From step 4 on optim.clip is 0.5; it was 1.0." in caplog.text
    assert caplog.text.count("; it was ") == 1


def test_settings_that_may_change_are_named_alone_or_by_section(tmp_path):
    write(tmp_path, 4)
    for changed, free in (({"optim": {"clip": 2.0}}, {"optim"}), ({"optim": {"clip": 2.0}}, {"optim.clip"})):
        with Checkpoints(tmp_path, SETTINGS | changed, free) as checkpoints:
            assert int(checkpoints.restore(state(0), Counter()).step) == 4
    with (
        Checkpoints(tmp_path, SETTINGS | {"optim": {"clip": 2.0}}, {"opt", "optim.cli"}) as checkpoints,
        pytest.raises(InputError, match=r"optim.clip \(1.0 then, 2.0 now\)"),
    ):
        checkpoints.restore(state(0), Counter())
