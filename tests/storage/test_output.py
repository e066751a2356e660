"""Text and JSON files that are written: their one form, and nothing half."""

import json

import pytest

from actavatar_jax.storage import read_json, write_json, write_text


def test_the_form_is_that_of_diffusers(tmp_path):
    value = {"_class_name": "Wan", "patch_size": [1, 2], "actavatar": {"tür": None, "rate": 1e-6}}
    write_json(tmp_path / "made" / "config.json", value)
    text = (tmp_path / "made" / "config.json").read_bytes()
    assert (
        text
        == (
            '{\n  "_class_name": "Wan",\n  "patch_size": [\n    1,\n    2\n  ],\n'
            '  "actavatar": {\n    "tür": null,\n    "rate": 1e-06\n  }\n}\n'
        ).encode()
    )
    assert read_json(tmp_path / "made" / "config.json") == value


def test_text_is_as_given(tmp_path):
    write_text(tmp_path / "a.txt", "tür\nend")
    assert (tmp_path / "a.txt").read_bytes() == "tür\nend".encode()


def test_what_is_no_json_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", [1])
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
