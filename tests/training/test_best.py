"""The best model of a run: saved when its figure gets better, remembered by a run that goes on."""

import json

import pytest

from actavatar_jax.training.best import Best


def looks(place, figure, values):
    """The steps after which the model was saved, of values of the figure; None: nothing was told."""
    saved = []
    best = Best(figure, place, lambda weights, step: saved.append((weights["w"], step)))
    for step, value in enumerate(values, start=1):
        best.look(None if value is None else {figure: value, "step": step}, lambda step=step: {"w": 10 * step}, step)
    assert all(weight == 10 * step for weight, step in saved)
    return [step for _, step in saved]


@pytest.mark.parametrize(
    ("figure", "values", "saved"),
    [
        ("heldout/loss", [3.0, 4.0, 2.0, 2.0, 1.0], [1, 3, 5]),
        ("sample/sync_c", [None, 3.0, 4.0, float("nan"), None, 5.0], [2, 3, 6]),
        ("sample/sync_d", [float("nan"), 9.0, 9.5], [2]),
    ],
)
def test_a_model_is_saved_when_it_is_better_than_all_before(tmp_path, figure, values, saved):
    place = tmp_path / "best.json"
    assert looks(place, figure, values) == saved
    last = json.loads(place.read_text())
    assert last == {"figure": figure, "value": values[saved[-1] - 1], "step": saved[-1]}


def test_a_run_that_goes_on_knows_the_best_and_another_figure_begins_anew(tmp_path):
    place = tmp_path / "best.json"
    assert looks(place, "heldout/loss", [3.0]) == [1]
    assert looks(place, "heldout/loss", [4.0, 2.5]) == [2]
    assert looks(place, "heldout/ema_loss", [7.0]) == [1]
