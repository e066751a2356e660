"""`actavatar ...`: parsing and printing only, one file for each group of commands."""

from actavatar_jax.cli.main import main

__all__ = ["main"]
