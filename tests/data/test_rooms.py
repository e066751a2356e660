"""The rooms of the data as others see them: one import style, faces that hold what they say, quick imports."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = sorted(path.parent.name for path in (ROOT / "data_pipelines").glob("*/__init__.py"))
HEAVY = ("torch", "transformers", "tensorflow", "apache_beam", "onnxruntime", "rtmlib", "scenedetect")


def test_from_outside_only_the_face_of_a_room_is_imported():
    behind = []
    for path in sorted(
        path for top in ("actavatar_jax", "data_pipelines", "launch") for path in (ROOT / top).rglob("*.py")
    ):
        own = path.parent.name if path.is_relative_to(ROOT / "data_pipelines") else None
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("data_pipelines"):
                room, *module = node.module.split(".")[1:] or [""]
                face = set() if room in ("", own) else set(importlib.import_module(f"data_pipelines.{room}").__all__)
                if room != own and (module or not {alias.name for alias in node.names} <= face):
                    behind.append(f"{path.relative_to(ROOT)}:{node.lineno} imports from {node.module}")
    assert not behind


@pytest.mark.parametrize("room", ROOMS)
def test_a_face_has_a_sentence_and_what_it_lists(room):
    face = importlib.import_module(f"data_pipelines.{room}")
    assert face.__doc__.count("\n") == 0 and face.__all__
    assert all(hasattr(face, name) for name in face.__all__)


def test_no_room_needs_heavy_packages_to_be_imported():
    rooms = "; ".join(f"import data_pipelines.{room}" for room in ROOMS)
    code = f"import sys; {rooms}; print(*sorted({set(HEAVY)!r} & sys.modules.keys()))"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
