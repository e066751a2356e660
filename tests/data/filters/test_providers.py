"""On what ONNX models run, and that several pictures at a time are seen as they are one by one."""

import multiprocessing

import numpy as np
import pytest

from actavatar_jax import onnx_files as opening
from actavatar_jax.errors import InputError
from actavatar_jax.keypoints import PERSON_SHAPES
from actavatar_jax.onnx_files import BATCH, VARIABLE, choose_providers, load_model, run_batches, run_model
from data_pipelines.filters.text_area import INPUTS, OUTPUTS
from tests.data import tiny_models

onnxruntime = pytest.importorskip("onnxruntime")
CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return tiny_models.text(tmp_path_factory.mktemp("models") / "text.onnx")


@pytest.fixture(autouse=True)
def offered(monkeypatch):
    """What onnxruntime is made to offer; without the variable, and in no worker."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: None)
    there = [TENSORRT, CUDA, CPU]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: there)
    load_model.cache_clear()
    yield there
    load_model.cache_clear()


def test_a_device_is_taken_where_there_is_one_but_not_by_workers_unasked(offered, monkeypatch):
    assert choose_providers() == [CUDA, CPU]
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: "a process")
    assert choose_providers() == [CPU]
    monkeypatch.setenv(VARIABLE, "cuda")
    assert choose_providers() == [CUDA, CPU]
    monkeypatch.setenv(VARIABLE, "tensorrt")
    assert choose_providers() == [TENSORRT, CUDA, CPU]
    offered.remove(CUDA)
    assert choose_providers() == [TENSORRT, CPU]
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: None)
    monkeypatch.delenv(VARIABLE)
    assert choose_providers() == [CPU]


def test_what_is_not_offered_or_unknown_is_one_sentence(offered, monkeypatch):
    offered[:] = [CPU]
    monkeypatch.setenv(VARIABLE, "cuda")
    with pytest.raises(InputError, match="ACTAVATAR_ONNX=cuda, but this onnxruntime offers cpu; devices need"):
        choose_providers()
    monkeypatch.setenv(VARIABLE, "npu")
    with pytest.raises(InputError, match=r"ACTAVATAR_ONNX='?npu'?: accepted are cpu, cuda, tensorrt"):
        choose_providers()


def test_sessions_get_what_was_chosen_and_one_that_does_not_start_is_refused(text, monkeypatch):
    """The package of these tests has no device, so that CUDA is offered here and then not started."""
    asked, session = [], onnxruntime.InferenceSession

    def spy(path, options, providers):
        asked.append(providers)
        return session(path, options, providers=[CPU])

    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)
    with pytest.raises(InputError, match=r"text\.onnx: onnxruntime offers CUDAExecutionProvider, but cannot start it"):
        load_model(text, INPUTS, OUTPUTS)
    monkeypatch.setenv(VARIABLE, "cpu")
    load_model(text, INPUTS, OUTPUTS)
    assert asked == [[CUDA, CPU], [CPU]]


@pytest.mark.parametrize("name", ["text", "person"])
def test_a_batch_is_seen_as_its_pictures_are(name, text, tmp_path, monkeypatch):
    """The detector of persons takes one picture, and gets one at a time."""
    monkeypatch.setenv(VARIABLE, "cpu")
    if name == "text":
        session, shape = load_model(text, INPUTS, OUTPUTS), (3, 64, 96)
    else:
        session, shape = load_model(tiny_models.person(tmp_path / "person.onnx"), *PERSON_SHAPES), (3, 640, 640)
    count = BATCH + 3 if name == "text" else 2
    pictures = np.random.default_rng(0).random((count, *shape), np.float32)
    alone, sizes = [run_model(session, picture[None]) for picture in pictures], []
    monkeypatch.setattr(opening, "run_model", lambda s, batch: sizes.append(len(batch)) or run_model(s, batch))
    together = list(run_batches(session, iter(pictures)))
    assert sizes == ([BATCH, 3] if name == "text" else [1, 1]) and len(together) == count
    for one, other in zip(together, alone, strict=True):
        for value, (expected,) in zip(one, other, strict=True):
            np.testing.assert_allclose(value, expected, rtol=1e-6)
            assert np.ptp(expected) > 0 or name == "person"
