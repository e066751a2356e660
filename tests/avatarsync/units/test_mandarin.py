# ruff: noqa: RUF001 (full-width punctuation)
"""Chinese text: its readings, the times of its syllables, and what is refused."""

import pytest

from actavatar_jax.avatarsync import plan_text
from actavatar_jax.avatarsync.units import align_text, check_phonemes, to_units
from actavatar_jax.avatarsync.units.mandarin import pinyin_of, syllables_of
from actavatar_jax.errors import InputError
from actavatar_jax.speech import PAUSE, Phoneme, Utterance, speak
from tests.commands import actavatar

pytest.importorskip("pypinyin")
pytest.importorskip("espeakng_loader")


def test_characters_are_read_as_their_words_have_them():
    assert pinyin_of("银行行长长大了。") == "yin2 hang2 hang2 zhang3 zhang3 da4 le5 。"
    assert pinyin_of("你好, 绿色的女儿") == "ni3 hao3 , lv4 se4 de5 nv3 er2"


def test_every_syllable_has_its_time():
    text = "你好，我们去北京。"
    spoken, samples = align_text(text, "mandarin")
    check_phonemes(spoken.phonemes, "it", len(samples) / 16000)
    symbols = [phoneme.symbol for phoneme in spoken.phonemes]
    assert [s for s in symbols if s != PAUSE] == ["ni3", "hao3", "wo3", "men5", "qu4", "bei3", "jing1"]
    assert symbols[2] == PAUSE and spoken.notation == "pinyin"  # at the comma
    heard = speak(pinyin_of(text), "mandarin").phonemes  # the voice says w of wo3 where the syllable begins
    starts = {phoneme.start for phoneme in spoken.phonemes if phoneme.symbol == "wo3"}
    assert starts == {phoneme.start for phoneme in heard if phoneme.symbol == "w"}
    units = [unit.name for unit in to_units(spoken.phonemes, spoken.notation, spoken.words)]
    assert units == ["d", "i", "h", "ao", "sil", "uo", "b", "uh", "x°", "v", "b", "ei", "x", "i"]


def test_plans_and_the_command_know_the_language(capsys):
    assert "b" in [keyframe.name for keyframe in plan_text("妈妈。", "zh").schedule.keyframes]
    assert actavatar("avatarsync", "units", "妈妈。", "--voice", "mandarin") == 0
    assert "ma1" in capsys.readouterr().out


@pytest.mark.parametrize(("text", "found"), [("你好 OK", "'OK'"), ("我有42个。", "'42'"), ("Hello", "'Hello'")])
def test_what_is_no_chinese_is_named(text, found):
    with pytest.raises(InputError, match=f"The text has {found}, which is no Chinese"):
        align_text(text, "mandarin")


def test_a_voice_that_leaves_out_syllables_is_not_guessed_at():
    said = Utterance(speak("ni3", "mandarin").samples, (Phoneme("n", 0.0, 0.2),), (0.0,))
    with pytest.raises(InputError, match="has 2 syllables and the voice spoke 1"):
        syllables_of("你好", said)
