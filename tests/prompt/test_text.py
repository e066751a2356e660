"""Cleaning: the backbone's, to the end, and times."""

import html

import ftfy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actavatar_jax.errors import InputError
from actavatar_jax.prompt.text import clean, clean_lines, to_seconds


def clean_as_the_backbone(text):
    """Wan2.2's text cleaning: ftfy, HTML entities twice, whitespace."""
    return " ".join(html.unescape(html.unescape(ftfy.fix_text(text))).split())


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.text(st.characters(codec="utf-8"), max_size=40),
        st.lists(st.sampled_from(["&", "amp;", "lt;", "#38;", "<", "Ã©", "&EACUTE;", " ", "a", "“"])).map("".join),
    )
)
def test_a_clean_text_passes_the_backbones_cleaning_unchanged(text):
    assert clean_as_the_backbone(clean(text)) == clean(text) == clean(clean(text))


@pytest.mark.parametrize("layers", ["amp;" * 4_900, "#38;" * 4_900, "#x26;amp;" * 999])
def test_nested_entities_are_undone_to_the_end(layers):
    assert clean(f"&{layers}lt;") == "<"


def test_lines_stay_lines():
    assert clean_lines(" a  b \r\n\n\tc&amp;d&#10;e\u2028f ") == "a b\nc&d\ne\nf"


@pytest.mark.parametrize(("text", "words"), [("a" * 20_001, "20,001 characters"), ("a\ud800b", "half of a character")])
def test_what_is_no_text_is_refused(text, words):
    with pytest.raises(InputError, match=words):
        clean(text)


def test_times():
    assert [to_seconds(time) for time in ("7.5", "-1", "0:07.5", "1:00:07,5", "1m7", "1 min 7.5")] == [
        7.5, -1, 7.5, 3607.5, 67, 67.5,
    ]  # fmt: skip
