"""Every notebook runs from top to bottom, with a tiny random model, and is stored without results."""

import dataclasses
import os
from pathlib import Path

import jax
import nbformat
import pytest
from nbclient import NotebookClient

from actavatar_jax import Sampling, functional
from actavatar_jax.models import PRESETS
from actavatar_jax.puppets.judge import JudgeConfig, save_judge
from actavatar_jax.puppets.judge.network import PuppetJudge
from actavatar_jax.puppets.world.actions import ACTIONS
from actavatar_jax.puppets.world.clips import World, make_clip
from actavatar_jax.runs.small_world import make_model
from actavatar_jax.weights import folder as folders

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NAMES = ["prompts_and_attention", "sampling", "training_puppets"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    """What tells the notebooks to take a model and a judge that know nothing, and the smallest training."""
    folder = tmp_path_factory.mktemp("untrained")
    world = World()
    clips = [make_clip(seed, world) for seed in range(10_000, 10_004)]
    texts, size = [clip.prompt.render() for clip in clips], (world.side, world.side)
    pictures = (clip.frames for clip in clips)
    make_model(folder / "model", pictures, texts, preset=PRESETS["tiny"], size=size, num_frames=world.frames)
    defaults = folders.load_defaults(folder / "model")
    folders.save_index(
        folder / "model", dataclasses.replace(defaults, sampling=Sampling(steps=4), world=dataclasses.asdict(world))
    )
    config = JudgeConfig(tuple(ACTIONS), width=16)
    save_judge(folder / "judge", config, jax.device_get(functional.init(PuppetJudge, config, jax.random.key(0))))
    return os.environ | {
        "ACTAVATAR_NOTEBOOK_MODEL": str(folder / "model"),
        "ACTAVATAR_NOTEBOOK_JUDGE": str(folder / "judge"),
        "ACTAVATAR_NOTEBOOK_SCALE": "runlocal",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # much is compiled, little run
    }


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_from_top_to_bottom(path, environment, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    runner = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}})
    runner.execute(env=environment)  # raises what a cell raises, with the cell
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)


def test_they_are_stored_small_without_results_and_begin_alike():
    assert [path.stem for path in NOTEBOOKS] == NAMES
    first = set()
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        assert path.stat().st_size < 40_000
        assert all(not cell.outputs and cell.execution_count is None for cell in code_cells(notebook))
        first.add(code_cells(notebook)[0].source)
    assert len(first) == 1


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]
