"""Files and folders are whole or not there: failures, kills, links, what dead processes left."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.storage import check_output, mend_folder, replaced_file, replaced_folder, writing

TWO_STEPS = "from actavatar_jax.storage import writing; writing.exchange = lambda *_: False"  # as on other systems
NOW = "os.kill(os.getpid(), signal.SIGKILL)"


def killed(code: str, root: Path = Path()) -> int:
    """Runs the code, which kills itself, in a process of its own; its number."""
    code = f"import os, signal\nfrom pathlib import Path\nfrom actavatar_jax.storage.writing import *\n{code}"
    process = subprocess.Popen([sys.executable, "-c", f"root = {str(root)!r}\n{code}"])
    assert process.wait(timeout=60) == -signal.SIGKILL
    return process.pid


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_at_the_end_of_the_block(tmp_path):
    path = tmp_path / "made" / "a.txt"
    for content in ("first", "second"):
        with replaced_file(path) as partial:
            partial.write_text(content)
            assert path.exists() == (content == "second")
        assert path.read_text() == content
    assert names(path.parent) == ["a.txt"]


@pytest.mark.parametrize("replaced", [replaced_file, replaced_folder])
def test_a_failure_leaves_what_was_there(tmp_path, replaced):
    target = tmp_path / "target"
    with replaced(target) as partial:
        (partial / "old" if partial.is_dir() else partial).write_text("old")
    with pytest.raises(OSError, match="disk"), replaced(target) as partial:
        (partial / "new" if partial.is_dir() else partial).write_text("half")
        raise OSError("disk")
    assert names(tmp_path) == ["target"]
    assert (target / "old" if target.is_dir() else target).read_text() == "old"


def test_a_folder_is_replaced_and_not_filled_up(tmp_path):
    for name in ("old", "new"):
        with replaced_folder(tmp_path / "target") as partial:
            (partial / name).write_text(name)
    assert names(tmp_path / "target") == ["new"] and names(tmp_path) == ["target"]


def test_a_kill_leaves_the_old_content_and_the_next_process_clears_up(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").write_text("old")
    killed(
        "with replaced_file(root + '/a.txt') as file, replaced_folder(root + '/folder') as folder:\n"
        f"  file.write_text('half'); (folder / 'new').write_text('half'); {NOW}",
        tmp_path,
    )
    assert (tmp_path / "a.txt").read_text() == "old" and names(tmp_path / "folder") == ["old"]
    assert len(names(tmp_path)) == 4
    with replaced_file(tmp_path / "b.txt") as partial:
        partial.write_text("b")
    assert names(tmp_path) == ["a.txt", "b.txt", "folder"]


@pytest.mark.parametrize("mend", [mend_folder, lambda folder: replaced_folder(folder / "target").__enter__()])
def test_a_folder_that_a_kill_left_aside_is_put_back(tmp_path, mend):
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "old").write_text("old")
    after = f"Path.rename = lambda *paths, do=Path.rename: do(*paths) and {NOW}"
    killed(f"{TWO_STEPS}\n{after}\nwith replaced_folder(root + '/target'): pass", tmp_path)
    assert not (tmp_path / "target").exists()
    mend(tmp_path)
    assert names(tmp_path / "target") == ["old"]


def test_a_folder_that_cannot_take_its_place_leaves_the_old_one(tmp_path, monkeypatch):
    target, rename = tmp_path / "target", Path.rename
    target.mkdir()
    (target / "old").write_text("old")

    def failing(path, to):
        if path.name.endswith(".partial"):
            raise OSError("disk")
        return rename(path, to)

    monkeypatch.setattr(writing, "exchange", lambda *_: False)  # as on other systems
    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="disk"), replaced_folder(target):
        pass
    assert names(target) == ["old"] and names(tmp_path) == ["target"]


def test_who_writes_the_same_target_does_not_share_a_name(tmp_path):
    seen, both = [], threading.Barrier(2)

    def write(content):
        with replaced_file(tmp_path / "a.txt") as partial:
            partial.write_text(content)
            seen.append(partial)
            both.wait()
            assert partial.read_text() == content

    threads = [threading.Thread(target=write, args=(content,)) for content in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({*seen}) == 2 and all(f"-{os.getpid()}-" in path.name for path in seen)
    assert names(tmp_path) == ["a.txt"] and (tmp_path / "a.txt").read_text() in ("one", "two")


def test_only_what_dead_processes_of_this_host_left_is_removed(tmp_path):
    dead, alive = killed(NOW), os.getppid()
    kept = (f".a.{writing._HOST}-{alive}-00000000.partial", f".a.01234567-{dead}-00000000.partial", ".notes.partial")
    stale = (f".a.{writing._HOST}-{dead}-00000000.partial", f".b.c.{writing._HOST}-{os.getpid()}-00000000.partial")
    for name in (*kept, *stale):
        (tmp_path / name).write_text("half")
    with replaced_file(tmp_path / "a") as partial:
        partial.write_text("whole")
    assert names(tmp_path) == sorted((*kept, "a"))
    mend_folder(tmp_path)
    assert names(tmp_path) == ["a"]


def test_a_forked_child_clears_up_after_one_before_it(tmp_path):
    """Its memory is a copy of its parent's, which has been in the folder already."""
    child = (
        "with replaced_file(root + '/a') as file: file.write_text('parent')\n"
        "if not (child := os.fork()):\n"
        f"  with replaced_file(root + '/a') as file: file.write_text('half'); {NOW}\n"
        "os.waitpid(child, 0)\n"
        "if not (child := os.fork()):\n"
        "  with replaced_file(root + '/a') as file: file.write_text('child')\n"
        "  os._exit(0)\n"
        f"os.waitpid(child, 0)\n{NOW}"
    )
    killed(child, tmp_path)
    assert names(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "child"


@pytest.mark.parametrize("replaced", [replaced_file, replaced_folder])
def test_a_link_stays_one(tmp_path, replaced):
    (tmp_path / "far").mkdir()
    link = tmp_path / "link"
    link.symlink_to(Path("far") / "target")  # to where nothing is yet
    for content in ("first", "second"):
        with replaced(link) as partial:
            (partial / "inside" if partial.is_dir() else partial).write_text(content)
        assert link.is_symlink() and names(tmp_path / "far") == ["target"] and names(tmp_path) == ["far", "link"]
        assert (link / "inside" if link.is_dir() else link).read_text() == content


def test_all_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda number: flushed.append(Path(f"/proc/self/fd/{number}").readlink().name))
    with replaced_file(tmp_path / "a") as partial:
        partial.write_text("a")
        name = partial.name
    assert flushed == [name]
    with replaced_folder(tmp_path / "folder") as partial:
        (partial / "deep").mkdir()
        (partial / "deep" / "b").write_text("b")
    assert flushed == [name, "b"]


def test_an_output_is_proven_before_it_is_made(tmp_path):
    (tmp_path / "file").touch()
    check_output(tmp_path / "new" / "folder" / "x.mp4")
    assert [path.name for path in tmp_path.rglob("*")] == ["file", "new", "folder"]  # and nothing is left of it
    for name, words in {
        "new": "is a folder; give the name of a file",
        "file/x": "one of the folders above it is a file",
        "x" * 300: "cannot be written: file name too long",
    }.items():
        with pytest.raises(InputError, match=words):
            check_output(tmp_path / name)
