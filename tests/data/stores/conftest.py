"""An object store in a folder, and a machine that knows nothing of it yet."""

import pytest

from actavatar_jax.storage import places
from tests.data.stores import shelf as shelves


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """The folder of `shelf://`, which processes that are started find as well; it is asked again at once."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.setenv("SHELF", str(folder))
    monkeypatch.setattr(places, "PAUSE", 0.0)
    shelves.register_everywhere(tmp_path / "registered", monkeypatch)
    return folder


@pytest.fixture
def change_machine(tmp_path, monkeypatch):
    """Goes on as on a machine with an empty disk."""
    numbers = iter(range(1000))

    def change():
        monkeypatch.setenv("ACTAVATAR_SCRATCH", str(tmp_path / f"machine-{next(numbers)}"))

    change()
    return change
