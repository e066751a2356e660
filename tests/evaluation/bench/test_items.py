"""Bench files: what they hold, and one sentence for what is wrong with them."""

import json

import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.bench import BenchItem, BenchPhase, read_bench
from tests.evaluation.bench.small_bench import make_bench, rows


def test_a_bench_file_is_read_whole(tmp_path):
    items = read_bench(make_bench(tmp_path / "bench"))
    assert [item.id for item in items] == ["wave", "nod", "point", "count", "lean", "rest"]
    first = items[0]
    assert first.image == tmp_path / "bench" / "face.png" and first.audio.name == "speech.wav"
    assert (first.duration, first.fps, first.language, first.seed) == (1.0, 25, "en", 0)
    assert first.phases == (BenchPhase(0.2, 0.6, "He does number 1.", "hands"),)
    assert first.windows == [(0.2, 0.6)] and first.prompt.phases[0].action == "He does number 1."
    assert items[-1].phases == ()


def test_what_need_not_be_said_is_as_in_the_paper_and_phases_are_in_the_order_of_time(tmp_path):
    phases = [{"start": 3, "end": 4, "action": "Nods."}, {"start": 0, "end": 2, "action": "Waves."}]
    row = {"id": "a", "image": "/x/a.png", "audio": "b.wav", "base": "A man.", "phases": phases}
    [item] = read_bench(make_bench(tmp_path, [row]))
    assert isinstance(item, BenchItem) and str(item.image) == "/x/a.png"
    assert (item.duration, item.fps, item.category, item.transcript) == (5.0, 25, "", "")
    assert [phase.action for phase in item.phases] == ["Waves.", "Nods."]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": "../a"}, r"line 1: the id is '../a'; accepted are letters, digits"),
        ({"id": "nod"}, r"lines 1 and 2 have the same id 'nod'"),
        ({"image": ""}, r"line 1: image is '', accepted is text that is not empty"),
        ({"duration": 0}, r"line 1: duration is 0, accepted is greater than 0"),
        ({"duration": "5"}, r"line 1: duration is '5', accepted is a number"),
        ({"surprise": 1}, r"line 1: surprise is unknown \(accepted are id, image"),
        (
            {"phases": [{"start": 0.5, "end": 3, "action": "Nods."}]},
            r"line 1: .* reaches past the end of the clip at 1 s",
        ),
        ({"phases": [{"start": 0.5, "end": 0.2, "action": "Nods."}]}, r"line 1: .* is reversed"),
        ({"phases": [{"start": 0, "end": 1}]}, r"line 1: phases\[0\]\.action is missing"),
        ({"base": " "}, r"line 1: .*the base text is empty"),
    ],
)
def test_wrong_lines_are_told_with_their_number(tmp_path, changes, words):
    lines = rows()[:2]
    lines[0] |= changes
    with pytest.raises(InputError, match=words) as error:
        read_bench(make_bench(tmp_path, lines))
    assert str(error.value).startswith(f"The bench file {tmp_path / 'bench.jsonl'} has problems:")


def test_an_empty_file_and_lines_that_are_no_json_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"The bench file .* is empty; accepted is one JSON object a line"):
        read_bench(make_bench(tmp_path, []))
    path = make_bench(tmp_path)
    path.write_text(json.dumps(rows()[0]) + "\n{broken\n")
    with pytest.raises(InputError, match="line 2 is no JSON"):
        read_bench(path)
