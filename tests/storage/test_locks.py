"""Locks of folders: between processes, and gone with them."""

import errno
import fcntl
import logging
import os
import signal
import subprocess
import sys

import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.storage import locked_folder, locked_list, locked_target, replaced_folder

HOLDS = """
import sys, time
from actavatar_jax.storage import locked_folder
with locked_folder(sys.argv[1], shared=sys.argv[2] == "shared"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of `tmp_path`."""
    running = []

    def hold(kind="alone"):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDS, str(tmp_path), kind], stdout=subprocess.PIPE, text=True
        )
        running.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in running:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_second_process_ends_with_a_sentence_that_names_the_first(tmp_path, holder):
    process = holder()
    said = rf"is being changed by process {process.pid} on .+; run this again"
    with pytest.raises(InputError, match=said), locked_folder(tmp_path):
        pass


def test_a_list_is_worked_through_by_one_process_at_a_time_and_stays_as_it_is(tmp_path):
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text("{}\n")
    jobs.chmod(0o444)
    said = r"jobs\.jsonl is being worked through by another process; run this again"
    with locked_list(jobs), pytest.raises(InputError, match=said), locked_list(jobs):
        pass
    with locked_list(jobs):
        pass
    assert os.listdir(tmp_path) == ["jobs.jsonl"] and jobs.read_text() == "{}\n"


def test_the_lock_of_a_dead_process_is_gone(tmp_path, holder):
    process = holder()
    process.send_signal(signal.SIGKILL)
    process.wait()
    with locked_folder(tmp_path):
        assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} on ")
    assert (tmp_path / ".lock").read_bytes() == b""


def test_those_who_share_exclude_those_who_do_not(tmp_path, holder):
    holder("shared")
    with locked_folder(tmp_path, shared=True):
        pass
    with pytest.raises(InputError, match="is being changed"), locked_folder(tmp_path):
        pass


def test_it_is_free_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), locked_folder(tmp_path):
        raise ZeroDivisionError
    with locked_folder(tmp_path):
        pass


def test_a_target_may_be_replaced_while_it_is_locked(tmp_path):
    with locked_target(tmp_path / "new" / "model"):
        with replaced_folder(tmp_path / "new" / "model") as partial:
            (partial / "a").touch()
        with pytest.raises(InputError, match="model is being changed"), locked_target(tmp_path / "new" / "model"):
            pass


def test_a_folder_that_is_not_there(tmp_path):
    said = r"cannot be changed \(No such file or directory\)"
    with pytest.raises(InputError, match=said), locked_folder(tmp_path / "nothing"):
        pass


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("x")
    (tmp_path / ".lock").symlink_to(tmp_path / "precious")
    with pytest.raises(InputError, match="cannot be changed"), locked_folder(tmp_path):
        pass
    assert (tmp_path / "precious").read_text() == "x"


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch, caplog):
    def without(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", without)
    with caplog.at_level(logging.WARNING), locked_folder(tmp_path):
        pass
    assert "no locks on this file system" in caplog.text
