"""Folders that change their names in one step."""

import sys
import threading

import pytest

from actavatar_jax.storage import replaced_folder
from actavatar_jax.storage.exchange import exchange

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems rename twice")


def test_both_names_are_there_and_lead_to_the_other_content(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    assert exchange(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a" / "b").exists() and (tmp_path / "b" / "a").exists()


def test_what_is_not_there_changes_nothing(tmp_path):
    (tmp_path / "a").mkdir()
    assert not exchange(tmp_path / "a", tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_folder_that_is_replaced_is_never_missing(tmp_path):
    """A reader who looks all the time finds the folder at every look, with the content of one writer."""
    target, done, absent = tmp_path / "model", threading.Event(), []

    def look():
        while not done.is_set():
            if not (target / "config.json").exists():
                absent.append(True)

    with replaced_folder(target) as partial:
        (partial / "config.json").write_text("0")
    reader = threading.Thread(target=look)
    reader.start()
    for i in range(300):
        with replaced_folder(target) as partial:
            (partial / "config.json").write_text(str(i))
    done.set()
    reader.join()
    assert not absent and (target / "config.json").read_text() == "299"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
