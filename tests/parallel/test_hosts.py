"""What fails in one process ends all, with a word of what it was; and nobody is left to wait."""

import pytest

from actavatar_jax.errors import InputError, OtherProcessError, first_line
from actavatar_jax.parallel import hosts
from tests.parallel.pairs import ends_of_two, errors


def agree(error=None):
    with hosts.agreed():
        if error:
            raise error


@pytest.mark.parametrize("error", [InputError("Absent."), InputError(), OSError("the disk is gone"), MemoryError()])
def test_a_process_raises_what_it_failed_with(error):
    with pytest.raises(type(error)) as raised:
        agree(error)
    assert raised.value is error


@pytest.mark.parametrize(
    ("error", "other", "sentence"),
    [
        (InputError("The portrait is absent."), InputError, "The portrait is absent. So says process 1."),
        (OSError("the disk is gone\nfor good"), OtherProcessError, "Process 1 failed: OSError: the disk is gone"),
        (MemoryError(), OtherProcessError, f"Process 1 failed: {first_line(MemoryError())}"),
    ],
)
def test_the_others_say_which_process_failed_and_why(monkeypatch, error, other, sentence):
    told = []
    monkeypatch.setattr(hosts, "on_each_host", lambda text: told.append(text) or told)
    with pytest.raises(type(error)):
        agree(error)
    monkeypatch.setattr(hosts, "on_each_host", lambda text: [text, *told])
    with pytest.raises(other) as raised:
        agree()
    assert str(raised.value) == sentence
    with pytest.raises(ZeroDivisionError):  # each that failed says its own
        agree(ZeroDivisionError())


def test_nobody_is_asked_after_ctrl_c(monkeypatch):
    monkeypatch.setattr(hosts, "on_each_host", None)
    with pytest.raises(KeyboardInterrupt):
        agree(KeyboardInterrupt())


def test_one_process_alone_has_arrived():
    assert hosts.all_arrive("test", seconds=0.0)


def ends(case, tmp_path):
    return ends_of_two("tests.parallel.failing", case, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["wrong_input", "local_look"])
def test_wrong_input_of_one_is_that_of_both(tmp_path, case):
    (code, out, error), (other_code, _, other_error) = ends(case, tmp_path)
    assert (code, other_code) == (2, 2), (error, other_error)
    (said,), (first,) = errors(error), errors(other_error)
    assert said == f"{first} So says process 1."
    assert case != "local_look" or "never trained: False" in out


@pytest.mark.slow
def test_any_other_exception_in_agreement_ends_both_with_a_stack_trace_where_it_was(tmp_path):
    (code, _, error), (other_code, _, other_error) = ends("in_agreement", tmp_path)
    assert (code, other_code) == (70, 70), (error, other_error)
    assert errors(error) == ["error: Process 1 failed: OSError: the disk is gone"]
    assert "Traceback" not in error
    assert "in in_agreement" in other_error and "OSError: the disk is gone\nerror: That should not" in other_error


@pytest.mark.slow
@pytest.mark.parametrize("who", [0, 1])
def test_one_that_dies_alone_is_not_waited_for(tmp_path, who):
    both = ends(f"alone {who}", tmp_path)
    assert both[who][0] == 70 and "OSError: the disk is gone" in both[who][2], both
    assert both[1 - who][0] not in (0, 2, 75), both


@pytest.mark.slow
def test_what_both_find_wrong_is_said_by_both_though_not_at_once(tmp_path):
    for code, _, error in ends("alike", tmp_path):
        assert code == 2 and errors(error) == ["error: The hosts disagree."], error
