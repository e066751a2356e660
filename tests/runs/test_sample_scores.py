"""Sample videos of a training scored for lip synchrony, by a small SyncNet on drawn talkers."""

import shutil

import jax
import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.parallel import make_mesh
from actavatar_jax.runs import opening, training
from actavatar_jax.runs.sample_scores import sample_folder
from actavatar_jax.runs.systems import actavatar
from configs import stage2

for package in ("cv2", "torch"):
    pytest.importorskip(package)
pytest.importorskip("onnx")

from data_pipelines.table import shelved  # noqa: E402
from tests.data import tiny_models  # noqa: E402
from tests.data.filters.test_voice_and_sync import talker  # noqa: E402

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    tiny_models.face(folder / "face.onnx")
    tiny_models.syncnet(folder / "syncnet_v2.model")
    return folder


def sampler(monkeypatch, tmp_path, models, make):
    """What the settings open, where the system's own sampler makes these videos."""
    monkeypatch.setattr(actavatar, "make_sampler", lambda config, network, workdir: make)
    config = stage2.get_config("runlocal")
    config.sample.syncnet = str(models)
    return training.open_sampler(config, opening.open_network(config), tmp_path)


def test_sample_videos_are_scored_and_coverage_is_told(models, monkeypatch, tmp_path):
    def make(params, step):
        folder = sample_folder(tmp_path, step)
        folder.mkdir(parents=True)
        for name, shown in (("talks", {"late": -2}), ("hidden", {"face": False})):
            shutil.move(talk(tmp_path, **shown), folder / f"{name}.mp4")
        (folder / "torn.mp4").write_bytes(b"no video")

    def talk(folder, **shown):
        talker(folder, frames=60, **shown)
        return shelved(folder / "clips", "talk", ".mp4")

    visit = sampler(monkeypatch, tmp_path, models, make)
    with jax.set_mesh(make_mesh("1,-1,1")):  # as in the course of a training
        record = visit({}, 7)
    assert record["sample/sync_coverage"] == pytest.approx(1 / 3)
    assert record["sample/sync_c"] > record["sample/sync_d"]  # they fit: the tiny network sees what it hears

    sample_folder(tmp_path, 8).mkdir(parents=True)
    none = sampler(monkeypatch, tmp_path, models, lambda params, step: None)({}, 8)
    assert none == {"sample/sync_coverage": 0.0}


def test_what_is_missing_is_said_before_the_training(models, monkeypatch, tmp_path):
    (tmp_path / "some").mkdir()
    shutil.copy(models / "face.onnx", tmp_path / "some")
    for folder, words in ((tmp_path, "it needs syncnet_v2.model"), (tmp_path / "some", "it needs syncnet_v2.model")):
        with pytest.raises(InputError, match=f"Lip synchrony of sample videos is not available: {words}"):
            sampler(monkeypatch, tmp_path, folder, lambda params, step: None)
    with pytest.raises(InputError, match=r"none are made; set sample\.every"):
        sampler(monkeypatch, tmp_path, models, None)
