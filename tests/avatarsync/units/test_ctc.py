"""Forced alignment against all paths there are, and gaps between sounds."""

import itertools

import numpy as np
import pytest

from actavatar_jax.avatarsync.units import check_phonemes
from actavatar_jax.avatarsync.units.ctc import HOP, RATE, Said, Span, align_labels, hear_labels, to_phonemes
from actavatar_jax.errors import InputError
from actavatar_jax.speech import PAUSE

BLANK = 0


def best_of_all_paths(emissions, labels):
    """Every path that says the labels, tried one after the other."""

    def says(path):
        return [label for label, _ in itertools.groupby(path) if label != BLANK] == labels

    paths = itertools.product(range(emissions.shape[1]), repeat=len(emissions))
    return max(
        filter(says, paths), key=lambda path: sum(row[label] for row, label in zip(emissions, path, strict=True))
    )


@pytest.mark.parametrize("labels", [[1], [1, 2], [1, 1], [2, 1, 2], [1, 2, 2], [1, 1, 1]])
@pytest.mark.parametrize("seed", range(4))
def test_the_best_of_all_paths_is_found(labels, seed):
    emissions = np.log(np.random.default_rng(seed).dirichlet(np.ones(3), 6))
    path = best_of_all_paths(emissions, labels)
    spans = align_labels(emissions, labels, BLANK)
    ours = np.full(6, BLANK)
    for span in spans:
        ours[span.first : span.last + 1] = span.label
    assert [span.label for span in spans] == labels and tuple(ours) == path


def test_a_recording_has_to_be_long_enough():
    emissions = np.log(np.full((3, 4), 0.25))
    assert [span.first for span in align_labels(emissions, [1, 2, 3], BLANK)] == [0, 1, 2]
    assert [span.first for span in align_labels(emissions, [1, 1], BLANK)] == [0, 2]
    for labels in ([1, 2, 3, 1], [1, 2, 2]):  # between equal ones there is a blank
        with pytest.raises(InputError, match=f"The text has {len(labels)} sounds.*0.06 s is too short"):
            align_labels(emissions, labels, BLANK)


def test_runs_of_a_label_are_heard_once():
    emissions = np.log(np.eye(4)[[0, 1, 1, 0, 1, 3, 2, 2]] * 0.9 + 0.025)
    assert hear_labels(emissions, (0, 3)) == [Span(1, 1, 2), Span(1, 4, 4), Span(2, 6, 7)]


def speech(*loudness):
    """A tone with another loudness in every tenth of a second."""
    tone = np.sin(np.arange(RATE // 10) * 0.3)
    return np.concatenate([tone * one for one in loudness]).astype(np.float32)


def said(symbol, first, last, **more):
    return Said((symbol,), (1.0,), first, last, **more)


def test_gaps_are_shared_unless_they_are_long_and_quiet():
    # Frames are 0.02 s, so the second tenth of a second has frames 5 to 9.
    both = [said("a", 1, 3, begins_word=True), said("b", 11, 13)]
    (first, second), words = to_phonemes(both, speech(1, 1, 1))
    assert (first.symbol, first.start) == ("a", 0) and first.end == second.start == pytest.approx(0.1525)
    assert second.end == pytest.approx(0.3) and words == (0.0,)
    phonemes, _ = to_phonemes(both, speech(1, 0.01, 1))
    assert [phoneme.symbol for phoneme in phonemes] == ["a", PAUSE, "b"]
    assert phonemes[1].start == pytest.approx(0.0825) and phonemes[1].end == pytest.approx(0.2225)
    quiet_but_short, _ = to_phonemes([said("a", 1, 5), said("b", 8, 13)], speech(1, 0.01, 1))
    assert [phoneme.symbol for phoneme in quiet_but_short] == ["a", "b"]


def test_silence_around_speech_is_a_pause_and_nothing_is_left_out():
    samples = speech(0, 0, 1, 1, 0, 0)
    phonemes, words = to_phonemes([said("m", 10, 12), said("a", 15, 19, begins_word=True)], samples)
    assert [phoneme.symbol for phoneme in phonemes] == [PAUSE, "m", "a", PAUSE]
    assert check_phonemes(phonemes, "it", len(samples) / RATE) and words == (phonemes[2].start,)
    assert phonemes[0].end == pytest.approx((10 * HOP + 200 - 160) / RATE)


def test_phonemes_of_a_word_share_its_time():
    (first, second, third), words = to_phonemes([Said(("m", "a", "p"), (1, 2, 1), 0, 14, True)], speech(1, 1, 1))
    assert (first.start, third.end) == (0, pytest.approx(0.3)) and words == (0.0,)
    assert second.end - second.start == pytest.approx(0.15) and first.end == pytest.approx(0.075)
