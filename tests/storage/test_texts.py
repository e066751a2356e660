"""Text files of other people: which are read, and one sentence for the others."""

import os
import threading
from pathlib import Path

import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.storage import read_bytes, read_text, split_lines


def refused(path, **settings) -> str:
    with pytest.raises(InputError) as error:
        read_text(path, **settings)
    assert len(str(error.value)) <= 400 and str(error.value).isprintable()
    return str(error.value)


def test_a_mark_at_the_beginning_is_left_out_and_nothing_else(tmp_path):
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfa\r\nb\rc\xe2\x80\xa8\n")
    assert read_text(tmp_path / "a") == "a\r\nb\rc\u2028\n"
    assert read_bytes(tmp_path / "a").startswith(b"\xef\xbb\xbf")


def test_lines_end_at_line_feeds():
    assert split_lines("a\r\nb\rc\u2028\u0085\n\nd\n") == ["a", "b\rc\u2028\u0085", "", "d"]
    assert split_lines("") == [] and split_lines("\n") == [""] and split_lines("a\n\n") == ["a", ""]


def test_what_is_no_regular_file_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    (tmp_path / "gone").symlink_to(tmp_path / "nothing")
    assert "is a pipe; accepted is a regular file" in refused(tmp_path / "pipe")
    assert "is a device" in refused(tmp_path / "link")
    assert "Is a directory" in refused(tmp_path)
    assert "is missing" in refused(tmp_path / "gone")
    assert "cannot be read (Not a directory)" in refused(Path(__file__) / "x")


def test_a_pipe_with_a_writer_is_not_read_either(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    held = os.open(tmp_path / "pipe", os.O_RDWR)
    try:
        os.write(held, b"{}")
        assert "is a pipe" in refused(tmp_path / "pipe")
    finally:
        os.close(held)


def test_names_that_are_none(tmp_path):
    assert "cannot be read (File name too long)" in refused(tmp_path / ("x" * 5000))
    assert "is no name of a file" in refused("a\0b")
    assert "is missing" in refused(os.fsdecode(bytes(tmp_path) + b"/caf\xe9\n"))


def test_a_file_without_permission(tmp_path, monkeypatch):
    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)  # tests may run as root, who has all
    assert "cannot be read (Permission denied)" in refused(tmp_path / "a")


def test_what_is_too_large_is_not_read(tmp_path):
    with (tmp_path / "holes").open("wb") as file:
        file.truncate(2**40)
    assert "too large; accepted are up to 8,388,608 bytes" in refused(tmp_path / "holes")
    (tmp_path / "a").write_text("x" * 11)
    assert "up to 10 bytes" in refused(tmp_path / "a", limit=10)
    assert read_text(tmp_path / "a", limit=11) == "x" * 11


def test_a_file_that_does_not_say_how_large_it_is():
    assert "too large" in refused("/proc/self/status", limit=10)


def test_text_of_another_encoding(tmp_path):
    (tmp_path / "a").write_bytes("tür".encode("utf-16"))
    assert "is not UTF-8 text (byte 0xff at 0); save it as UTF-8" in refused(tmp_path / "a")


def test_readers_do_not_wait_for_a_writer(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    thread = threading.Thread(target=lambda: refused(tmp_path / "pipe"), daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()
