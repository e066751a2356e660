"""Every command of the pages that names the full-size model, with its real sizes and without its numbers."""

import json

import pytest

from tests.parallel.test_eight_devices import finish, start

pytestmark = pytest.mark.slow

STAGES = {"first frame", "text", "speech", "conditions", "step", "decoding"}


def test_documented_commands_open_check_and_trace_what_they_ask_for(tmp_path):
    out, _ = finish(start("full_size", tmp_path, devices=32))
    found = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    sampled = [one for one in found if "programs" in one]
    trained = [one for one in found if "tokens" in one]
    assert len(sampled) == 6 and len(sampled) + len(trained) == len(found)
    for one in sampled:
        assert set(one["programs"]) == STAGES, one
        asked = "relay" if "--phase-time relay" in one["line"] else "tie" if "--model tie/" in one["line"] else "paper"
        assert one["forms"] == [asked], one
    meshes = [one["mesh"] for one in trained]
    assert meshes == [[1, 1, 1]] * 2 + [[1, 8, 4]] * 2 + [[1, 8, 1], [2, 4, 2]] + [[1, 8, 1]] * 3 + [[1, 1, 1]]
    assert {one["tokens"] for one in trained} == {28_160}
    assert all(one["read"] > 10 for one in trained)
    stages = ["configs/stage1.py" in one["line"] for one in trained]
    assert stages == [True, False] * 2 + [False] * 5 + [True]
    for one, first in zip(trained, stages, strict=True):
        assert one["adapter"] == ("" if first else "adapter.safetensors")
