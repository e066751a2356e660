"""The weights that come with the library, by the commands of docs/avatarsync.md."""

import re
import shlex

import pytest

from actavatar_jax.avatarsync.folder import open_parts
from actavatar_jax.puppets.avatarsync.demo import SHIPPED
from actavatar_jax.puppets.avatarsync.heads import make_head
from actavatar_jax.puppets.avatarsync.recipe import MOST_BYTES
from actavatar_jax.puppets.world.clips import World
from tests.avatarsync.test_page import blocks
from tests.commands import actavatar

DEMO, *_ = blocks("bash")


def test_they_are_small_and_fit_each_other():
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file()) < MOST_BYTES
    parts = open_parts(SHIPPED)
    assert parts.sampling.temperature == 0.5 and parts.tokenizer.config.bits == 9


@pytest.mark.slow
def test_a_head_speaks_as_the_page_says(tmp_path, monkeypatch, capsys):
    pytest.importorskip("espeakng_loader")
    monkeypatch.chdir(tmp_path)
    first, second = (shlex.split(line)[1:] for line in DEMO.splitlines())
    assert actavatar(*first) == 0
    lips, flicker = re.search(r"lips (\S+) at lag 0, .* flicker (\S+) levels", capsys.readouterr().out).groups()
    assert float(lips) > 0.5 and float(flicker) < 0.1
    world = World.from_dict(open_parts(SHIPPED).world)
    said = make_head(7, world, 64, second[second.index("--say") + 1], "english-us")  # it fits into the clip
    assert said.clip.sentence == "Good morning."
