"""Compiled programs are kept from one command to the next, unless JAX's own variables say otherwise."""

import os
from pathlib import Path

SECONDS = "0.1"  # of compiling from which on a program is kept; JAX's default, a whole one, misses small models


def keep_compiled_programs() -> None:
    """Sets the defaults of JAX's persistent compilation cache; to be called before JAX is imported.

    Programs lie in `~/.cache/actavatar-jax/compiled` (or below `$XDG_CACHE_HOME`); JAX_ENABLE_COMPILATION_CACHE=false
    switches that off.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(home / "actavatar-jax" / "compiled"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", SECONDS)
