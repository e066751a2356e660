"""What is said of wrong input is one line that a person reads to its end."""

import pickle

from actavatar_jax.errors import LONGEST, InputError


def test_a_sentence_stays_as_it_is():
    assert str(InputError("The seed is -1; accepted is 0 to 9.")) == "The seed is -1; accepted is 0 to 9."


def test_whatever_is_quoted_it_is_one_line_of_bounded_length():
    long = str(InputError(f"The name is {'a ' * 10_000}\n\n; give another."))
    assert len(long) == LONGEST == 400 and long.startswith("The name is a a") and long.endswith("…")
    assert str(InputError("Two\r\nlines\tand  spaces.")) == "Two lines and spaces."


def test_it_comes_back_from_another_process():
    error = pickle.loads(pickle.dumps(InputError("Absent.")))
    assert isinstance(error, InputError) and str(error) == "Absent."
