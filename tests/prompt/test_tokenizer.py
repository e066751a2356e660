"""Tokenizers: special ids, nothing unknown, the same from run to run, and phase ids of a prompt."""

import hashlib
import io
import itertools
import json
import logging
import os
import subprocess
import sys

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer

from actavatar_jax.errors import InputError
from actavatar_jax.prompt import StructuredPrompt
from actavatar_jax.prompt.tokenizer import ModelTokenizer, fit_tokenizer, load_tokenizer

TEXTS = [
    f"{who} {how}. Phase-1 [0-2s]: {act} the {side} arm."
    for who in ("A woman", "A man", "The presenter")
    for how in ("speaking professionally", "in business attire", "explaining")
    for act in ("Raises", "Waves", "Lowers")
    for side in ("left", "right")
]
PAPER = StructuredPrompt.parse(
    "A woman in business attire speaking professionally Phase-1 [0-2s]: Gestures outward with open palm "
    "Phase-2 [2-4s]: Points downward to emphasize detail."
)


@pytest.fixture(scope="module")
def tokenizer():
    return fit_tokenizer(TEXTS, 640)


def test_special_ids_and_end_token(tokenizer):
    assert tokenizer.pieces([0, 1, 2]) == ["<pad>", "</s>", "<unk>"] and tokenizer.eos_token_id == 1
    assert tokenizer.encode("", add_special_tokens=True) == [1]
    assert tokenizer.encode("A woman", add_special_tokens=True)[-1] == 1
    assert tokenizer.encode("A woman", add_special_tokens=False).count(1) == 0


def test_frequent_words_are_one_piece_and_size_holds(tokenizer):
    assert tokenizer.pieces(tokenizer.encode("A woman", add_special_tokens=False)) == ["▁A", "▁woman"]
    assert len(tokenizer) <= 640
    vocabulary = tokenizer.backend.get_vocab()
    assert sorted(vocabulary.values()) == list(range(len(tokenizer)))


@pytest.mark.parametrize("text", ["zebra Quiz #42!", "héllo wörld 日本 🙂", "<pa d> [x] ~^|", "▁under▁"])
def test_no_text_is_unknown(tokenizer, text):
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert 2 not in ids
    assert tokenizer.decode(ids) == text.replace("▁", " ").lstrip()


def test_save_and_load_round_trip(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    ours, theirs = load_tokenizer(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    for text in [*TEXTS, "日本 zebra", "", "  two  spaces "]:
        ids = tokenizer.encode(text, add_special_tokens=True)
        assert ours.encode(text, add_special_tokens=True) == theirs(text)["input_ids"] == ids
    assert (theirs.pad_token_id, theirs.eos_token_id, theirs.unk_token_id) == (0, 1, 2)
    assert theirs.model_max_length == 512 and len(theirs) == len(ours)


def test_truncation_and_padding_of_a_file_are_no_concern(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    other = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    other.enable_truncation(3)
    other.enable_padding(length=9)
    other.save(str(tmp_path / "tokenizer.json"))
    ids = tokenizer.encode(TEXTS[0], add_special_tokens=True)
    assert load_tokenizer(tmp_path).encode(TEXTS[0], add_special_tokens=True) == ids


def test_the_end_token_is_the_one_that_the_folder_names(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    for end, expected in (("<unk>", 2), ({"content": "<pad>"}, 0)):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": end}))
        assert load_tokenizer(tmp_path).eos_token_id == expected
    (tmp_path / "tokenizer_config.json").unlink()
    assert load_tokenizer(tmp_path).eos_token_id == 1
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "<end>"}')
    with pytest.raises(InputError, match="no piece '<end>' for the end"):
        load_tokenizer(tmp_path)


def test_only_the_tokenizers_library_is_imported():
    code = "import sys, actavatar_jax.pipeline; print({'torch', 'transformers'} & set(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    out = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()" and not out.stderr


def test_same_texts_same_tokenizer_in_another_process(tokenizer):
    code = "import sys, json; from actavatar_jax.prompt.tokenizer import fit_tokenizer; "
    code += "print(fit_tokenizer(json.load(sys.stdin), 640).backend.to_str())"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "7"}
    other = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(TEXTS[::-1]), env=environment, capture_output=True, text=True
    )
    digest = [hashlib.sha256(text.encode()).hexdigest() for text in (other.stdout.strip(), tokenizer.backend.to_str())]
    assert digest[0] == digest[1], other.stderr


def test_bad_input(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load_tokenizer(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"holds no tokenizer\.json"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{broken")
    with pytest.raises(InputError, match="cannot be read"):
        load_tokenizer(tmp_path)
    with pytest.raises(InputError, match="too small"):
        fit_tokenizer(TEXTS, 100)
    with pytest.raises(InputError, match="without texts"):
        fit_tokenizer([" "])


def test_folders_of_other_tools(tokenizer, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spiece.model").write_bytes(b"\n\x0e")
    with pytest.raises(InputError, match=r"a spiece\.model but no tokenizer\.json; transformers' save_pretrained"):
        load_tokenizer(tmp_path)
    tokenizer.save(tmp_path)
    parts = json.loads((tmp_path / "tokenizer.json").read_text())
    for faulty, words in (
        (json.dumps(parts | {"model": {"type": "New", "vocab": {}}}), "is damaged or of another version"),
        (json.dumps(parts | {"version": "9.0"}), "is damaged or of another version"),
        (json.dumps(parts)[:1000], "is damaged or of another version"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "git lfs pull"),
        ("<!DOCTYPE html>", "is damaged"),
        (json.dumps(parts | {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}}), "is damaged"),
        ("", "is damaged"),
    ):
        (tmp_path / "tokenizer.json").write_text(faulty)
        with pytest.raises(InputError, match=words) as error:
            load_tokenizer(tmp_path)
        assert len(str(error.value)) <= 400 and "\n" not in str(error.value)
    assert capfd.readouterr().err == ""  # nor does the library print a trace of its own
    tokenizer.save(tmp_path)
    for config, words in (("[]", "expected an object"), ('{"eos_token": 5}', "no piece 5 for the end"), ("{", "JSON")):
        (tmp_path / "tokenizer_config.json").write_text(config)
        with pytest.raises(InputError, match=words):
            load_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": null}')
    assert load_tokenizer(tmp_path).eos_token_id == 1


def test_code_in_a_folder_is_not_run_and_not_passed_on(tokenizer, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    tokenizer.save(tmp_path / "a")
    (tmp_path / "a" / "tokenization_evil.py").write_text("open('ran', 'w')")
    config = {**tokenizer.config, "auto_map": {"AutoTokenizer": ["tokenization_evil.EvilTokenizer", None]}}
    (tmp_path / "a" / "tokenizer_config.json").write_text(json.dumps(config))
    loaded = load_tokenizer(tmp_path / "a")
    assert "code of its own" in caplog.text and not (tmp_path / "ran").exists()
    loaded.save(tmp_path / "b")
    assert "auto_map" not in (tmp_path / "b" / "tokenizer_config.json").read_text()


def test_the_length_is_the_rows_that_an_embedding_needs():
    holes = Tokenizer(models.WordLevel({"</s>": 0, "<unk>": 1, "a": 9}, unk_token="<unk>"))
    assert len(ModelTokenizer(holes, {})) == 10


def test_what_a_tokenizer_does_not_know_is_told(caplog):
    words = Tokenizer(models.WordLevel({"</s>": 0, "<unk>": 1, "a": 2}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    StructuredPrompt("a b a c").tokenise(ModelTokenizer(words, {}))
    assert "2 of the prompt's 4 tokens are unknown to the tokenizer" in caplog.text
    lacking = Tokenizer(models.Unigram([("</s>", 0.0), ("a", -1.0)], None))
    with pytest.raises(InputError, match="the tokenizer cannot encode 'b'"):
        StructuredPrompt("b").tokenise(ModelTokenizer(lacking, {}))


# ---- phase ids


def joint_ids(tokenizer, prompt):
    """What the text encoder of the backbone would be given for the flat string."""
    return [*tokenizer.encode(prompt.render(), add_special_tokens=False), tokenizer.eos_token_id]


def texts_by_phase(tokenizer, tokens):
    return [tokenizer.decode(tokens.ids[:-1][tokens.phase_ids[:-1] == k]) for k in range(tokens.phase_ids.max() + 1)]


def test_phase_ids_of_the_papers_example(tokenizer):
    tokens = PAPER.tokenise(tokenizer)
    assert tokens.ids.tolist() == joint_ids(tokenizer, PAPER)
    assert texts_by_phase(tokenizer, tokens) == list(PAPER.blocks)
    assert tokens.phase_ids[-1] == 0 and tokens.ids[-1] == 1  # the end token belongs to the base
    assert np.all(np.diff(tokens.phase_ids[:-1]) >= 0)
    assert tokens.ids.dtype == tokens.phase_ids.dtype == np.int32
    padded = np.full(512, -1)
    padded[: len(tokens.phase_ids)] = tokens.phase_ids
    assert set(padded.tolist()) == {-1, 0, 1, 2} and (padded == -1).sum() == 512 - len(tokens.ids)


def test_bare_texts_are_tokenised_one_by_one_without_anchors(tokenizer):
    tokens = PAPER.tokenise(tokenizer, anchors=False)
    texts = [PAPER.base, *(phase.action for phase in PAPER.phases)]
    ids = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
    assert tokens.ids.tolist() == [*itertools.chain(*ids), 1]
    assert tokens.phase_ids.tolist() == [k for k, block in enumerate(ids) for _ in block] + [2]  # the end is the last's
    assert texts_by_phase(tokenizer, tokens) == texts
    alone = StructuredPrompt(PAPER.base).tokenise(tokenizer, anchors=False)
    assert alone.phase_ids.tolist() == [0] * len(alone.ids) and alone.ids.tolist() == [*ids[0], 1]


def test_empty_prompt_is_the_end_token(tokenizer):
    tokens = StructuredPrompt("").tokenise(tokenizer)
    assert tokens.ids.tolist() == [1] and tokens.phase_ids.tolist() == [0]


def test_sentencepiece_tokenizer_needs_no_prefixes(tmp_path, caplog):
    sentencepiece = pytest.importorskip("sentencepiece")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_writer=model, vocab_size=400, byte_fallback=True,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, hard_vocab_limit=False, minloglevel=2, num_threads=1,
    )  # fmt: skip
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())

    class Pieces:
        eos_token_id = 1

        def encode(self, text, *, add_special_tokens):
            return processor.encode(text, add_eos=add_special_tokens)

    with caplog.at_level(logging.INFO, "actavatar_jax.prompt"):
        tokens = PAPER.tokenise(Pieces())
    assert tokens.ids.tolist() == [*processor.encode(PAPER.render()), 1]
    for k, block in enumerate(PAPER.blocks):
        assert processor.decode(tokens.ids[:-1][tokens.phase_ids[:-1] == k].tolist()) == block
    assert not caplog.records


def test_tokenizer_that_joins_across_spaces_is_measured_on_prefixes(caplog):
    # Without a pre-tokenizer a space is an ordinary character, which a block on its own does not have before it.
    plain = Tokenizer(
        models.Unigram([("<unk>", 0.0), ("</s>", 0.0), *((chr(c), -5.0) for c in range(32, 127)), ("y P", -1.0)], 0)
    )
    plain.pre_tokenizer = pre_tokenizers.Sequence([])
    spanning = ModelTokenizer(plain, {})
    with caplog.at_level(logging.INFO, "actavatar_jax.prompt"):
        tokens = PAPER.tokenise(spanning)
    assert tokens.ids.tolist() == joint_ids(spanning, PAPER)
    assert len(caplog.records) == 1 and "prefixes" in caplog.text
    pieces = ["".join(spanning.pieces(tokens.ids[:-1][tokens.phase_ids[:-1] == k])) for k in range(3)]
    assert "".join(pieces) == PAPER.render()
    assert pieces[2].strip().endswith("detail.") and "[2-4s]" in pieces[2] and "[0-2s]" in pieces[1]


def test_too_long_is_an_error_in_training_and_cuts_the_base_in_sampling(tokenizer, caplog):
    prompt = StructuredPrompt("one two three " * 40, PAPER.phases)
    whole = prompt.tokenise(tokenizer, max_length=10_000)
    counts = np.bincount(whole.phase_ids[:-1])
    room = len(whole.ids) - 30
    with pytest.raises(InputError, match=f"base {counts[0]}, phase 1 {counts[1]}, phase 2 {counts[2]}"):
        prompt.tokenise(tokenizer, max_length=room)
    tokens = prompt.tokenise(tokenizer, max_length=room, strict=False)
    assert "30 tokens of the base" in caplog.text
    assert len(tokens.ids) == room and tokens.ids[-1] == 1
    np.testing.assert_array_equal(np.bincount(tokens.phase_ids[:-1]), counts - [30, 0, 0])
    np.testing.assert_array_equal(tokens.ids[tokens.phase_ids > 0], whole.ids[whole.phase_ids > 0])
    np.testing.assert_array_equal(tokens.ids[: counts[0] - 30], whole.ids[: counts[0] - 30])
    with pytest.raises(InputError, match="tokens"):  # the phases alone do not fit: nothing may be cut from them
        prompt.tokenise(tokenizer, max_length=int(counts[1:].sum()), strict=False)
    with pytest.raises(InputError, match=r"tokens, at most 512 fit \(base"):
        StructuredPrompt("wonderful zebra " * 200).check(tokenizer=tokenizer)
