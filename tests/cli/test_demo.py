"""Where the demos leave what they make."""

from pathlib import Path

import pytest

from actavatar_jax.puppets import demo
from actavatar_jax.puppets.avatarsync import demo as heads
from tests.commands import actavatar


@pytest.mark.parametrize(
    ("arguments", "module", "folder"),
    [((), demo, "runs/demo"), (("--system", "avatarsync"), heads, "runs/head"), (("--out", "x"), demo, "x")],
)
def test_each_has_a_folder_of_its_own(monkeypatch, capsys, arguments, module, folder):
    monkeypatch.setattr(module, "make_demo", lambda out, **options: f"made {Path(out).as_posix()}")
    assert actavatar("demo", *arguments) == 0
    assert capsys.readouterr().out.strip() == f"made {folder}"
