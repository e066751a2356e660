"""Documents as types: what fits, and all that does not in one sentence."""

import dataclasses
from typing import Any, ClassVar, Literal

import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.storage import parse_json


@dataclasses.dataclass(frozen=True)
class Window:
    __pydantic_config__: ClassVar = {"extra": "forbid"}

    start: float
    end: float

    def __post_init__(self):
        if self.end <= self.start:
            raise InputError(f"the window {self.start:g}-{self.end:g} is empty.")


@dataclasses.dataclass(frozen=True)
class Plan:
    name: str
    kind: Literal["hard", "soft"] = "hard"
    windows: tuple[Window, ...] = ()
    size: tuple[int, int] | None = None
    prompt: str | dict[str, Any] = ""
    flag: bool = False


def read(text: str, as_: Any = Plan) -> Any:
    return parse_json(text, "plan.json", as_)


def refused(text: str, as_: Any = Plan) -> str:
    with pytest.raises(InputError) as error:
        read(text, as_)
    assert len(str(error.value)) <= 400
    return str(error.value)


def test_what_fits_becomes_the_type():
    whole = '{"name": "a", "kind": "soft", "windows": [{"start": 0, "end": 1.5}], "size": [1, 2], "prompt": {"b": []}}'
    assert read(whole) == Plan("a", "soft", (Window(0.0, 1.5),), (1, 2), {"b": []})
    assert read('{"name": "a", "of another program": 1}') == Plan("a")
    assert read("[1, 2]", list[int]) == [1, 2] and read('{"a": 1.5}', dict[str, float]) == {"a": 1.5}
    assert read('"a"', str) == "a" and read("null", object) is None


def test_types_are_those_of_json():
    assert read('{"name": "a", "windows": [{"start": 0, "end": 1}]}').windows[0].end == 1.0
    for fault in ('"flag": 1', '"flag": "true"', '"size": [1, 2.5]', '"size": ["1", 2]', '"size": [true, 2]'):
        refused(f'{{"name": "a", {fault}}}')


def test_all_problems_are_told_at_once():
    text = """{"kind": "firm", "windows": [{"start": "0", "end": 1}, 5, {"start": 0, "end": 1, "pace": 2}], "size": [1],
               "prompt": 3, "flag": 1}"""
    said = refused(text)
    assert said.startswith("plan.json: name is missing; ")
    for problem in (
        "windows[2].pace is unknown",
        "kind is 'firm', accepted is 'hard' or 'soft'",
        "windows[0].start is '0', accepted is a number",
        "windows[1] is 5, accepted is an object",
        "prompt is 3, accepted is text or an object",
        "flag is 1, accepted is true or false",
    ):
        assert problem in said, said


def test_what_a_type_says_itself_is_told_with_its_place():
    assert "windows[0]: the window 2-1 is empty" in refused('{"name": "a", "windows": [{"start": 2, "end": 1}]}')


def test_unknown_keys_are_told_with_those_that_are_known():
    assert refused('{"start": 0, "end": 1, "pace": 1}', Window) == (
        "plan.json: pace is unknown (accepted are start, end)."
    )


def test_many_and_long_problems_are_counted_and_cut():
    said = refused(f"[{', '.join(['[1, 2, 3]'] * 500)}]", list[int])
    assert "[0] is [1, 2, 3], accepted is a whole number; [1] is" in said and said.endswith("more.")
    said = refused(f'{{"name": ["{"x" * 10_000}"]}}')
    assert "name is ['xxx" in said and len(said) < 150
    said = refused(f'{{"name": "a", "windows": [{{"{"k" * 10_000}": 1, "start": 0, "end": 1}}]}}')
    assert "is unknown" in said
