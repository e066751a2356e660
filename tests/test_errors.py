"""What is said of wrong input is one line that a person reads to its end."""

import pickle
from pathlib import Path

import actavatar_jax
from actavatar_jax.errors import LONGEST, InputError, refused_by_system


def test_a_sentence_stays_as_it_is():
    assert str(InputError("The seed is -1; accepted is 0 to 9.")) == "The seed is -1; accepted is 0 to 9."


def test_whatever_is_quoted_it_is_one_line_of_bounded_length():
    long = str(InputError(f"The name is {'a ' * 10_000}\n\n; give another."))
    assert len(long) == LONGEST == 400 and long.startswith("The name is a a") and long.endswith("…")
    assert str(InputError("Two\r\nlines\tand  spaces.")) == "Two lines and spaces."


def test_it_comes_back_from_another_process():
    error = pickle.loads(pickle.dumps(InputError("Absent.")))
    assert isinstance(error, InputError) and str(error) == "Absent."


def test_a_file_of_the_library_that_is_not_there_is_no_persons_mistake(tmp_path):
    def refused(path):
        try:
            path.read_bytes()
        except OSError as error:
            return refused_by_system(error)

    assert refused(tmp_path / "absent") == f"{tmp_path}/absent: No such file or directory."
    assert refused(Path(actavatar_jax.__file__).with_name("absent")) is None
