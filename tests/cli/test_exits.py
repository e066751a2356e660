"""Whatever ends a command becomes a code, and one line where a person can do something about it."""

import errno
import gc
import os
import signal
import threading
import time

import jax
import pytest

from actavatar_jax.cli import exits
from actavatar_jax.errors import InputError, OtherProcessError, StoreError


def ends(command, capsys):
    """(code, standard error) of a command."""
    try:
        exits.run_command(command)
    except SystemExit as end:
        return end.code, capsys.readouterr().err
    return 0, capsys.readouterr().err


def raising(error):
    def command():
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (InputError("Absent."), 2, "error: Absent.\n"),
        (FloatingPointError("the loss is nan"), 1, "error: the loss is nan\n"),
        (StoreError("gs://b/x: the object store fails."), 74, "error: gs://b/x: the object store fails.\n"),
        (OtherProcessError("Process 1 failed."), 70, "error: Process 1 failed.\n"),
        (KeyboardInterrupt(), 130, "Interrupted.\n"),
        (SystemExit(130), 130, "Interrupted.\n"),  # what Typer makes of it
        (SystemExit(75), 75, ""),
    ],
)
def test_codes_and_lines(capsys, error, code, said):
    assert ends(raising(error), capsys) == (code, said)


def test_any_other_exception_comes_with_its_stack_trace_and_not_with_a_code_that_means_something_else(capsys):
    for error in (OSError("the disk is gone"), RuntimeError("RESOURCE_EXHAUSTED"), BrokenPipeError(32, "Broken pipe")):
        code, said = ends(raising(error), capsys)
        assert code == 70 and said.startswith("Traceback")
        assert said.endswith(f"{type(error).__name__}: {error}\n{exits.BUG}\n")
    assert ends(lambda: None, capsys) == (0, "")


def test_what_the_system_refuses_is_one_sentence(capsys, tmp_path):
    (tmp_path / "file").touch()
    assert ends(lambda: (tmp_path / "absent" / "x").write_text(""), capsys) == (
        74, f"error: {tmp_path}/absent/x: No such file or directory.\n",
    )  # fmt: skip
    assert ends(lambda: (tmp_path / "file" / "x").read_text(), capsys)[0] == 74
    assert ends(lambda: (tmp_path / ("x" * 300)).write_text(""), capsys)[1].endswith(": File name too long.\n")
    full, denied = OSError(errno.ENOSPC, "No space left", "big.mp4"), PermissionError(errno.EACCES, "denied", "a.png")
    assert ends(raising(full), capsys) == (74, "error: big.mp4: there is no space left on the disk.\n")
    assert ends(raising(denied), capsys) == (74, "error: a.png: there is no permission.\n")


def test_a_memory_that_is_used_up_is_one_sentence(capsys):
    def on_the_device():
        jax.block_until_ready(jax.numpy.zeros((2**30, 2**20)))

    for command, where in ((raising(MemoryError()), "host"), (on_the_device, "device")):
        code, said = ends(command, capsys)
        assert code == 71 and said.startswith(f"error: The memory of the {where} is used up; take") and "\n" in said[-1]


def test_an_interrupt_that_became_another_exception_is_one(capsys):
    def called_from_c():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise SystemError("returned a result with an exception set") from error

    assert ends(called_from_c, capsys) == (130, "Interrupted.\n")


def test_an_interrupt_that_python_ignores_comes_again(capsys):
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)

    class Interrupted:
        def __del__(self):
            raise KeyboardInterrupt

    def command():
        Interrupted()
        gc.collect()
        for _ in range(1000):
            time.sleep(0.01)

    try:
        assert ends(command, capsys) == (130, "Interrupted.\n")
    finally:
        signal.signal(signal.SIGINT, previous)


def test_a_process_among_several_goes_though_the_others_do_not_come(monkeypatch, capsys):
    gone = threading.Event()
    codes = []
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(exits, "PATIENCE", 0.05)
    monkeypatch.setattr(os, "_exit", lambda code: (codes.append(code), gone.set()))
    assert ends(raising(OSError("the disk is gone")), capsys)[0] == 70
    assert gone.wait(5) and codes == [70]
