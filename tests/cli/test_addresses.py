"""An address on a store, where a command works on a disk, is one sentence and makes no folder `gs:`."""

from pathlib import Path

import pytest

from actavatar_jax.cli.main import app
from tests.commands import refused

COMMANDS = [
    ("sample", "--model", "gs://b/model", "--image", "a.png", "--audio", "a.wav", "--prompt", "x", "--out", "a.mp4"),
    ("sample", "--model", "model", "--image", "a.png", "--audio", "a.wav", "--prompt", "x", "--out", "gs://b/a.mp4"),
    ("train", "--config", "configs/stage1.py", "--workdir", "gs://b/run"),
    ("export", "base", "gs://b/model", "--adapter", "a.safetensors"),
    ("init", "gs://b/clips", "model"),
    ("filter", "memory://b/clips", "--models", "gs://b/models"),
    ("encode", "memory://b/clips", "memory://b/shards", "--model", "gs://b/model"),
    ("data", "inspect", "clips", "--out", "gs://b/page.html"),
    ("models", "check", "gs://b/models"),
    ("demo", "--out", "gs://b/demo"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=[" ".join(command[:2]) for command in COMMANDS])
def test_it_is_refused_by_name(command, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(capsys, "is an address on a store; a path on a disk is needed here", *command)
    assert list(tmp_path.iterdir()) == []


def test_every_command_checks_its_paths():
    """Whatever takes a `Path`: what is registered is not the bare function."""

    def commands(group):
        yield from group.registered_commands
        for below in group.registered_groups:
            yield from commands(below.typer_instance)

    found = list(commands(app))
    assert len(found) > 30
    for command in found:
        names = [name for name, kind in command.callback.__annotations__.items() if "Path" in str(kind)]
        if names:
            with pytest.raises(ValueError, match="gs://b/x is an address"):
                command.callback(**{names[0]: Path("gs://b/x")})


def test_where_addresses_are_taken_the_missing_package_is_named(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in (
        ("corpus", "folder", "gs://b/videos", "a.parquet"),
        ("corpus", "folder", "videos", "gs://b/a.parquet"),
        ("prepare", "videos", "gs://b/clips"),
        ("filter", "gs://b/clips", "--steps", "probe"),
        ("select", "gs://b/clips", "--stage", "1"),
        ("select", "memory://b/clips", "--stage", "1", "--rules", "gs://b/rules.yaml"),
        ("annotate", "gs://b/clips", "--server", "http://localhost:1/v1", "--model", "m"),
        ("encode", "gs://b/clips", "shards", "--commit"),
        ("encode", "clips", "gs://b/shards", "--commit"),
        ("data", "inspect", "gs://b/clips"),
        ("data", "table", "gs://b/clips", "--out", "a.parquet"),
    ):
        refused(capsys, "the package for this store is missing (Please install gcsfs", *command)
    assert list(tmp_path.iterdir()) == []
