"""Commands work on disks. Those of the corpora take addresses of object stores, too, where a parameter is a text."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from actavatar_jax.storage import check_on_disk


def refuse_addresses(app: typer.Typer) -> None:
    """Has every command, also of the groups below, refuse an address where it takes a `Path`, which would make a local
    folder of it."""
    for command in app.registered_commands:
        command.callback = _on_disk(command.callback)
    for group in app.registered_groups:
        refuse_addresses(group.typer_instance)


def _on_disk(command: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(command)
    def checked(**values: Any) -> Any:
        for value in values.values():
            for path in value if isinstance(value, list | tuple) else [value]:
                if isinstance(path, Path):
                    check_on_disk(path)
        return command(**values)

    return checked
