"""The examples of docs/avatarsync.md, as they stand there, one after the other."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from actavatar_jax import avatarsync
from tests.avatarsync.drawn import random_params

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "avatarsync.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.slow
def test_the_examples_of_the_page(quick_compilation, capsys):
    names = {"drawn": lambda module, config, key: random_params(module, config)}
    slow = "draw = jax.jit(functional.init, static_argnums=(0, 1), compiler_options=functional.RUN_ONCE)"
    for block in blocks("python"):
        exec(block.replace(slow, "draw = drawn"), names)
    frames, plan = names["frames"], names["plan"]
    assert "('b', " in capsys.readouterr().out
    assert frames.shape == (round(25 * names["spoken"].seconds), 32, 32, 3) and frames.dtype == np.float32
    assert frames.min() >= 0 and frames.max() <= 1
    on = [int(keyframe.time) for keyframe in plan.keyframes]
    np.testing.assert_array_equal(frames[on], names["pictures"])


def test_the_json_of_the_page(tmp_path):
    (text,) = blocks("json")
    (tmp_path / "said.json").write_text(text)
    found = avatarsync.read_alignment(tmp_path / "said.json", seconds=0.31)
    assert len(found.phonemes) == len(json.loads(text)["phonemes"]) and found.words == (0.25,)
