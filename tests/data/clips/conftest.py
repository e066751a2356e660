"""A folder of two videos."""

import pytest

from tests.data.fakes import write_clip


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "videos"
    write_clip(folder / "a.mp4", frames=20)
    write_clip(folder / "below" / "a.mp4", frames=25, height=96, width=64)
    return folder
