"""The compilation cache of commands: where it is, who may say otherwise, and that JAX uses it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from actavatar_jax.cli.cache import keep_compiled_programs

DIR, SECONDS = "JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HOME": "/home/me"}, ("/home/me/.cache/actavatar-jax/compiled", "0.1")),
        ({"HOME": "/home/me", "XDG_CACHE_HOME": "/caches"}, ("/caches/actavatar-jax/compiled", "0.1")),
        ({"HOME": "/home/me", DIR: "/mine", SECONDS: "2"}, ("/mine", "2")),
    ],
)
def test_what_the_user_says_counts(environment, expected, monkeypatch):
    for name in (DIR, SECONDS, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    try:
        keep_compiled_programs()
        assert (os.environ[DIR], os.environ[SECONDS]) == expected
    finally:
        os.environ.clear()
        os.environ.update(before)


def test_jax_is_imported_late_enough_to_see_it(tmp_path):
    """By the command's own module as by the entry point: JAX reads its variables when it is imported."""
    code = (
        "import sys, actavatar_jax.cli; m = sys.modules['actavatar_jax.cli.main']; m.app = lambda: "
        "print('jax' in sys.modules, __import__('jax').config.jax_compilation_cache_dir); m.main()"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop(DIR, None)
    out = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", str(Path(tmp_path) / "actavatar-jax" / "compiled")]
