import dataclasses
import math
import typing

import pytest

from actavatar_jax.checks import (
    COUNT,
    DECAY,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    WHOLE,
    Limit,
    check_fields,
    each,
    one_of,
    whole,
)
from actavatar_jax.errors import InputError


@typing.no_type_check
@dataclasses.dataclass(frozen=True)
class Walk:
    paces: int
    speed: float = 1.0
    pets: tuple[str, ...] = ()
    leash: float | None = None
    sunny: bool = False

    def __post_init__(self):
        check_fields(self, "value of ", paces=COUNT, speed=POSITIVE)


def test_values_take_the_form_of_their_annotation():
    walk = Walk(3, speed=2, pets=["dog", "cat"])
    assert (walk.speed, type(walk.speed), walk.pets, walk.leash) == (2.0, float, ("dog", "cat"), None)
    assert dataclasses.replace(walk, leash=1).leash == 1.0


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"paces": 2.5}, "The value of paces is 2.5; accepted is a whole number."),
        ({"paces": True}, "The value of paces is True; accepted is a whole number."),
        ({"paces": 0}, "The value of paces is 0; accepted is a whole number above 0."),
        ({"speed": "fast"}, "The value of speed is 'fast'; accepted is a number."),
        ({"speed": math.nan}, "The value of speed is nan; accepted is a number above 0."),
        ({"pets": "dog"}, "The value of pets is 'dog'; accepted is a list."),
        ({"pets": (1,)}, "The value of pets is 1; accepted is text."),
        ({"sunny": 1}, "The value of sunny is 1; accepted is true or false."),
    ],
)
def test_what_is_not_accepted_is_told_in_a_sentence(wrong, sentence):
    with pytest.raises(InputError) as error:
        Walk(**{"paces": 1} | wrong)
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    ("limit", "inside", "outside"),
    [
        (POSITIVE, (1e-9, 7), (0, -1, math.inf, math.nan)),
        (NOT_NEGATIVE, (0, 7), (-1e-9, math.inf, math.nan)),
        (SHARE, (0, 0.5, 1), (-0.1, 1.1, math.nan)),
        (DECAY, (0, 0.999), (-0.1, 1, math.nan)),
        (COUNT, (1, 9), (0, -1)),
        (WHOLE, (0, 9), (-1,)),
        (whole(2, 4), (2, 4), (1, 5)),
        (each(COUNT, 2), ((1,), (1, 2)), ((), (0,), (1, 2, 3))),
        (one_of("soft", "hard"), ("soft", "hard"), ("", "Soft")),
    ],
)
def test_limits(limit: Limit, inside, outside):
    assert all(limit.holds(value) for value in inside)
    assert not any(limit.holds(value) for value in outside)


def test_what_was_found_is_cut():
    for wrong in ({"speed": 10**999}, {"pets": "dog" * 999}, {"pets": [["dog"] * 999]}, {"paces": {"a": "b" * 999}}):
        with pytest.raises(InputError, match=r"The value of .*; accepted is") as error:
            Walk(**{"paces": 1} | wrong)
        assert len(str(error.value)) < 150
