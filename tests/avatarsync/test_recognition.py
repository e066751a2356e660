# ruff: noqa: RUF001 (letters of the phonetic alphabet look like others)
"""A recogniser with random weights against transformers' own, and alignments by emissions that are planted."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2Config as TheirConfig
from transformers import Wav2Vec2ForCTC

from actavatar_jax.avatarsync import Recogniser, align_text
from actavatar_jax.avatarsync.units import check_phonemes
from actavatar_jax.avatarsync.units.ctc import HOP, RATE
from actavatar_jax.errors import InputError
from actavatar_jax.speech import PAUSE
from tests.commands import actavatar, refused
from tests.media.sounds import encode, tones

PHONEMES = [
    "<pad>",
    "<s>",
    "</s>",
    "<unk>",
    "m",
    "æ",
    "p",
    "ɑː",
    "aɪ",
    "h",
    "oʊ",
    "ʌ",
    "v",
    "ə",
    "n",
    "iː",
    "t",
    "s",
    "d",
]
LETTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ"]
SIZES = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48,
    "conv_dim": (16,) * 7, "num_conv_pos_embedding_groups": 4, "num_conv_pos_embeddings": 16, "pad_token_id": 0,
}  # fmt: skip
STABLE = {"feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True}


def save_recogniser(folder, labels, **config):
    torch.manual_seed(0)
    model = Wav2Vec2ForCTC(TheirConfig(**SIZES, vocab_size=len(labels), **config)).eval()
    model.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({label: number for number, label in enumerate(labels)}))
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("recogniser")
    save_recogniser(place, PHONEMES, **STABLE)
    return place


@pytest.mark.parametrize("config", [{}, STABLE], ids=["group", "stable"])
def test_log_probabilities_are_those_of_transformers(tmp_path, config):
    model = save_recogniser(tmp_path, PHONEMES, **config)
    samples = tones(RATE, 1.0, 300)[0]
    heard = Recogniser.from_pretrained(tmp_path).listen(samples)
    standard = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
    with torch.no_grad():
        logits = model(torch.tensor(standard)[None]).logits[0]
    assert heard.shape == (49, len(PHONEMES))
    np.testing.assert_allclose(heard, torch.log_softmax(logits, -1).numpy(), atol=2e-5)


def planted(recogniser, told, samples):
    """The recogniser, but it hears (label, seconds) at these times, in one frame each, as trained ones do."""
    emissions = np.full(((len(samples) - 400) // HOP + 1, len(recogniser.labels)), 0.01)
    emissions[:, recogniser.blank] = 0.9
    for label, second in told:
        frame = min(max(round((second * RATE - 200) / HOP), 0), len(emissions) - 1)
        emissions[frame] = 0.01
        emissions[frame, recogniser.labels.index(label)] = 0.9

    class Planted(Recogniser):
        def listen(self, samples):
            return np.log(emissions / emissions.sum(1, keepdims=True)).astype(np.float32)

    return Planted(**{field.name: getattr(recogniser, field.name) for field in dataclasses.fields(recogniser)})


TEXT = "A map of my home."
LABELS = {"ɐ": "ɑː", "m": "m", "ˈæ": "æ", "p": "p", "ʌ": "ʌ", "v": "v", "aɪ": "aɪ", "h": "h", "ˈoʊ": "oʊ"}


def spoken():
    pytest.importorskip("espeakng_loader")
    true, samples = align_text(TEXT)
    said = [phoneme for phoneme in true.phonemes if phoneme.symbol != PAUSE]
    return true, said, samples


@pytest.mark.parametrize("text", [TEXT, None])
def test_phonemes_are_found_where_they_are_said(folder, text):
    true, said, samples = spoken()
    told = [(LABELS[phoneme.symbol], (phoneme.start + phoneme.end) / 2) for phoneme in said]
    found = planted(Recogniser.from_pretrained(folder), told, samples).align(samples, text)
    check_phonemes(found.phonemes, "it", len(samples) / RATE)
    ours = [phoneme for phoneme in found.phonemes if phoneme.symbol != PAUSE]
    # With the text symbols are its own, though there is no label for its first sound; else they are the labels.
    wanted = [phoneme.symbol for phoneme in said] if text else [LABELS[phoneme.symbol] for phoneme in said]
    assert [phoneme.symbol for phoneme in ours] == wanted and found.notation == "ipa"
    for one, other in zip(ours, said, strict=True):
        assert one.start < (other.start + other.end) / 2 < one.end
        assert abs(one.start - other.start) < 0.07
    if text:
        assert len(found.words) == len(true.words) == 5
        np.testing.assert_allclose(found.words[1:], true.words[1:], atol=0.07)


@pytest.mark.parametrize("text", [TEXT, None])
def test_letters_find_words_whose_phonemes_share_their_time(tmp_path, text):
    true, said, samples = spoken()
    save_recogniser(tmp_path, LETTERS)
    told, starts = [], [*true.words, said[-1].end]
    for word, start, end in zip(TEXT.upper().rstrip(".").split(), starts[:-1], starts[1:], strict=True):
        told += [(c, start + (n + 0.5) / (len(word) + 1) * (end - start)) for n, c in enumerate(word)]
        told.append(("|", end - 0.01))
    found = planted(Recogniser.from_pretrained(tmp_path), told, samples).align(samples, text)
    check_phonemes(found.phonemes, "it", len(samples) / RATE)
    assert [p.symbol.strip("ˈ") for p in found.phonemes if p.symbol != PAUSE] == [
        *["eɪ", "m", "æ", "p", "ʌ", "v", "m", "aɪ", "h", "oʊ", "m"]
    ]
    np.testing.assert_allclose(found.words[1:], true.words[1:], atol=0.08)
    lengths = {
        p.symbol.strip("ˈ"): p.end - p.start for p in found.phonemes if found.words[1] <= p.start < found.words[2]
    }
    assert lengths["æ"] == pytest.approx(2 * lengths["m"]) == pytest.approx(2 * lengths["p"])


def test_what_cannot_be_aligned(folder, tmp_path):
    _, _, samples = spoken()
    recogniser = Recogniser.from_pretrained(folder)
    with pytest.raises(InputError, match="hears no speech"):
        planted(recogniser, [], samples).align(samples)
    with pytest.raises(InputError, match=r"sounds, for which a recording of 0.\d+ s is too short"):
        recogniser.align(samples[: int(0.4 * RATE)], TEXT * 3)
    with pytest.raises(InputError, match="Recordings of Chinese are not aligned"):
        recogniser.align(samples, "你好", "mandarin")
    with pytest.raises(InputError, match="no label for the sound 'ʃ"):
        recogniser.align(samples, "She.")
    save_recogniser(tmp_path, LETTERS)
    letters = Recogniser.from_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"no letters for '42\.'; write it"):
        letters.align(samples, "We are 42.")
    with pytest.raises(InputError, match="The text has no words"):
        letters.align(samples, "...")


def test_folders_that_are_no_recogniser(folder, tmp_path):
    model = Wav2Vec2ForCTC.from_pretrained(folder)
    model.wav2vec2.save_pretrained(tmp_path / "encoder")
    vocabulary = (folder / "vocab.json").read_text()
    (tmp_path / "encoder" / "vocab.json").write_text(vocabulary)
    with pytest.raises(InputError, match="has no lm_head: it is no recogniser"):
        Recogniser.from_pretrained(tmp_path / "encoder")
    model.save_pretrained(tmp_path / "more")
    (tmp_path / "more" / "vocab.json").write_text(json.dumps({**json.loads(vocabulary), "x": 99}))
    with pytest.raises(InputError, match="numbers 'x' as 99; accepted are the 19 numbers"):
        Recogniser.from_pretrained(tmp_path / "more")
    with pytest.raises(InputError, match=r"vocab\.json"):
        (tmp_path / "more" / "vocab.json").unlink()
        Recogniser.from_pretrained(tmp_path / "more")


def test_commands_take_recordings(folder, tmp_path, monkeypatch, capsys):
    pytest.importorskip("espeakng_loader")
    monkeypatch.chdir(tmp_path)
    encode(tmp_path / "said.wav", tones(RATE, 1.0, 300), RATE)
    assert actavatar("avatarsync", "units", "A map.", "--audio", "said.wav", "--aligner", folder) == 0
    shown = capsys.readouterr().out
    assert "units in 1.00 s" in shown and "ˈæ" in shown
    refused(capsys, "leave --audio out", "avatarsync", "units", "A map.", "--audio", "said.wav")
    sample = ("avatarsync", "sample", "--model", "m", "--image", "i.png", "--out", "o.mp4", "--audio", "said.wav")
    refused(capsys, "with --aligner, to which --text tells", *sample)
    refused(capsys, "with --aligner, to which --text tells", *sample, "--alignment", "a.json", "--aligner", folder)
    refused(capsys, "needs --text, or --audio with", *sample[:-2], "--aligner", folder)
