"""LoRA in both stages, from the config to the file that `actavatar sample --lora` takes."""

import jax
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.models import MATRICES, PRESETS
from actavatar_jax.models.avatar import ActAvatarDiT
from actavatar_jax.runs import training
from actavatar_jax.weights import folder
from configs import stage1, stage2

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A folder with a transformer whose parameters are all random: everything gets a gradient."""
    path, rng = tmp_path_factory.mktemp("base"), np.random.default_rng(0)
    config = PRESETS["tiny"].transformer
    shapes = functional.abstract(ActAvatarDiT, config)
    params = jax.tree.map(lambda leaf: 0.1 * rng.standard_normal(leaf.shape).astype(np.float32), shapes)
    folder.save(path, "transformer", config, params)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("stage", [stage1, stage2], ids=["stage1", "stage2"])
def test_the_result_is_a_file_for_the_model_it_started_from(base, stage, tmp_path):
    config = stage.get_config("runlocal")
    config.model.folder, config.model.preset = str(base), ""
    config.steps, config.lora.rank, config.lora.alpha = "2", 2, 4.0
    state = training.run_training(config, tmp_path)
    assert (tmp_path / "lora.safetensors").is_file() and not (tmp_path / "model").exists()

    held = {name: leaf.dtype for name, leaf in functional.flatten(state.frozen).items()}
    assert held["blocks/ffn/up/kernel"] == config.precision == "bfloat16"
    assert held["time_projection/kernel"] == np.float32  # computed in it

    trained = functional.flatten(state.weights)
    before = functional.flatten(folder.load(base, "transformer").params)
    merged = functional.flatten(folder.load(base, "transformer", loras=[tmp_path / "lora.safetensors"]).params)
    kernels, others = functional.split(before, MATRICES)
    for name, leaf in others.items():
        np.testing.assert_array_equal(merged[name], leaf, err_msg=name)
    for name, leaf in kernels.items():
        a, b = (np.asarray(trained[name.replace("kernel", own)]) for own in ("lora_a", "lora_b"))
        assert b.any(), name
        np.testing.assert_allclose(merged[name], leaf + 2.0 * a @ b, rtol=1e-5, atol=1e-6, err_msg=name)
