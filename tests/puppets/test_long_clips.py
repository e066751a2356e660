"""Long puppet videos: drawn as they are told, and what is measured of parts."""

import numpy as np
import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.puppets.demo import SHIPPED
from actavatar_jax.puppets.long_clips import changes_at, drift_of_parts, make_long_clip
from actavatar_jax.puppets.world.clips import World, make_clip
from tests.commands import actavatar

WORLD = World(side=32, frames=25)


def test_a_long_clip_shows_the_presenter_of_its_seed_and_speaks_throughout():
    long, short = make_long_clip(3, WORLD, 7.5, 3), make_clip(3, WORLD)
    assert long.identity == short.identity and len(long.frames) == 188
    assert len(long.cues) == 3 and len({cue.action for cue in long.cues}) == 3
    for k, cue in enumerate(long.cues):
        assert 2.5 * k - 0.06 <= cue.start and cue.end <= 2.5 * (k + 1) + 0.06 and 1 <= cue.end - cue.start <= 2.5
    assert long.opening[-50:].max() > 0.2
    with pytest.raises(InputError, match=r"4 phases do not go into 7\.5 s"):
        make_long_clip(3, WORLD, 7.5, 4)


def test_change_at_borders_is_told_apart_from_change_inside():
    frames = np.zeros((9, 4, 4, 3), np.uint8)
    frames[4:] = 10
    frames[7:] = 13
    assert changes_at(frames, [4]) == (10.0, pytest.approx(3 / 7))
    assert changes_at(frames, [])[0] == 0.0


def test_the_drift_of_parts_is_of_their_mean_appearance():
    embeddings = np.array([[1.0, 0.0]] * 3 + [[0.0, 2.0]] * 2 + [[3.0, 3.0]])
    np.testing.assert_allclose(drift_of_parts(embeddings, [3, 5]), [0, 1, 1 - 0.5**0.5], atol=1e-12)


@pytest.mark.slow
def test_the_command_tells_of_borders_and_parts_beside_the_usual_figures(capsys):
    """Three parts of the shipped model, at most three seconds each."""
    arguments = ("--seconds", 6.5, "--phases", 2, "--items", 1, "--overlap", 2, "--hold-colours")
    assert actavatar("evaluate", "long", "--model", SHIPPED, *arguments) == 0
    printed = capsys.readouterr().out
    assert "Hit@Segment" in printed and "levels, at borders and inside parts: " in printed
    *_, drift = printed.strip().splitlines()
    first, *others = map(float, drift.rpartition(": ")[2].split())
    assert first == 0 and len(others) >= 2 and all(0 < value < 0.5 for value in others)
