"""Sentences: one line, of bounded length, whatever they tell of."""

import sys
import time

from hypothesis import given
from hypothesis import strategies as st

from actavatar_jax.storage import cut, named, refusal, shown


@given(st.text(st.characters()), st.integers(1, 100))
def test_what_is_cut_is_one_line(text, most):
    found = cut(text, most)
    assert len(found) <= most or not text.isprintable()
    assert found.isprintable()


@given(st.text(), st.lists(st.text(min_size=1), min_size=1, max_size=50))
def test_a_sentence_is_one_line_and_not_too_long(source, problems):
    said = str(refusal(f"{named(source)}:", problems))
    assert len(said) <= 440 and said.isprintable()
    assert len(problems) == 1 or said.endswith("more.") or len(said) <= 400


def test_problems_that_have_no_room_are_counted():
    said = str(refusal("a:", [f"problem {k} {'x' * 40}" for k in range(1200)]))
    told = said.count("problem")
    assert said.endswith(f"; and {1200 - told:,} more.") and 5 < told < 10 and len(said) <= 400


def test_of_a_long_name_the_end_is_told():
    assert named("a/" * 500 + "config.json").endswith("a/config.json") and len(named("a/" * 500)) == 160


def test_something_large_is_not_written_out():
    begun = time.process_time()
    assert len(shown([["x" * 10**6] * 10**6] * 10)) <= 60
    assert shown({"a": 1}) == "{'a': 1}" and shown("a\nb") == r"'a\nb'"
    assert time.process_time() - begun < 1 and sys.getsizeof(shown(b"x" * 10**7)) < 200
