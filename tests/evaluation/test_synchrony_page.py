"""Lip synchrony in docs/evaluation.md as it stands there, on drawn talkers and small models."""

import re
import shutil
from pathlib import Path

import pytest

from actavatar_jax.evaluation import NotScored
from data_pipelines.table import shelved
from tests.data import tiny_models
from tests.data.filters.test_voice_and_sync import talker

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "evaluation.md").read_text()

for package in ("cv2", "torch"):
    pytest.importorskip(package)


def test_the_code_scores_a_folder_of_videos(tmp_path, monkeypatch, capsys):
    (tmp_path / "videos").mkdir()
    for name, shown in (("early", {"late": -2}), ("faceless", {"face": False})):
        talker(tmp_path, frames=60, **shown)
        shutil.move(shelved(tmp_path / "clips", "talk", ".mp4"), tmp_path / "videos" / f"{name}.mp4")
    tiny_models.face(tmp_path / "models" / "face.onnx")
    tiny_models.syncnet(tmp_path / "models" / "syncnet_v2.model")
    monkeypatch.chdir(tmp_path)
    code = re.findall(r"```python\n(.*?)```", PAGE.partition("## Lip synchrony")[2], re.S)[0]
    told = {}
    exec(code, told)
    early, faceless = told["results"]
    assert early.scores.offset == 2 and early.scores.windows == 55 and early.coverage == 1
    assert early.scores.confidence > early.scores.distance  # they fit
    assert isinstance(faceless, NotScored) and f"`{faceless.reason}`" in PAGE
    assert capsys.readouterr().out.endswith("2 videos, scored 50% at a minimum track of 50, 0% at 100: 1 no face\n")
