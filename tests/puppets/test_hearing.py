# ruff: noqa: RUF001 (letters of the phonetic alphabet look like others)
"""The audio encoder of the puppet world: what it is taught, and that it learns it."""

import numpy as np
import pytest

from actavatar_jax.models import PRESETS
from actavatar_jax.puppets import hearing
from actavatar_jax.runs.small_world import make_model
from actavatar_jax.speech import PAUSE, Phoneme
from actavatar_jax.weights import folder as folders


def named(labels):
    names = list(hearing.SOUND_IDS)
    return [[names[number] for number in frame] for frame in labels]


def test_each_half_frame_is_labelled_with_the_sound_in_its_middle():
    """Frames of 40 ms: a pause, then a two-part sound over frame 1 and half of frame 2, then m."""
    said = (Phoneme(PAUSE, 0.0, 0.04), Phoneme("au", 0.04, 0.1), Phoneme("m", 0.1, 0.12))
    labels = hearing._labels(said, 4)
    assert named(labels) == [[PAUSE, PAUSE], ["a", "u"], ["u", "m"], [PAUSE, PAUSE]]
    stressed = hearing._labels((said[0], Phoneme("ˈau", 0.04, 0.1), said[2]), 4)
    assert (stressed - labels).tolist() == [[0, 0], [hearing.STRESSED] * 2, [hearing.STRESSED, 0], [0, 0]]
    assert labels.max() < hearing.STRESSED


def test_sentences_and_their_sounds_are_the_same_every_time():
    samples, labels = hearing.spoken(3, 25, seed=1)
    again, same = hearing.spoken(3, 25, seed=1)
    np.testing.assert_array_equal(samples, again)
    np.testing.assert_array_equal(labels, same)
    assert samples.shape == (3, 25 * 640) and labels.shape == (3, 25, 2)
    assert len(np.unique(labels)) > 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    clips = [np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3)).astype(np.uint8)]
    make_model(folder, clips, ["a person speaks"], preset=PRESETS["tiny"], size=(32, 32), num_frames=25)
    return folder


@pytest.mark.slow
def test_training_changes_the_encoder_in_place_and_beats_the_commonest_answer(folder):
    before = folders.load(folder, "audio_encoder", dtype="float32").params
    right = hearing.train_hearing(folder, frames=25, steps=40, utterances=48, batch_size=8, rate=4e-3)
    after = folders.load(folder, "audio_encoder", dtype="float32").params
    _, labels = hearing.spoken(48 + 64, 25, seed=0)
    commonest = np.bincount(labels[48:].ravel()).max() / labels[48:].size
    assert right > commonest
    assert not np.array_equal(before["projection"]["kernel"], after["projection"]["kernel"])
