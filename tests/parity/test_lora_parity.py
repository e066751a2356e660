"""A LoRA that we read against the same one worked into the PyTorch twin by hand, W + alpha / r B A: one velocity."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from actavatar_jax.weights import folder
from tests.parity.test_twin import CONFIG, TOLERANCE, error, ours_compiled, random_inputs, random_params, theirs

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from actavatar_jax.weights.twin import ActAvatarTwin  # noqa: E402 - what it needs may be missing

RANK, ALPHA, STRENGTH = 3, 5.0, 0.7
# A layer of the twin, and its name in the original release: every kind of them, in different blocks.
LAYERS = {
    "blocks.0.attn1.to_q": "blocks.0.self_attn.q",
    "blocks.1.attn1.to_k": "blocks.1.self_attn.k",
    "blocks.2.attn1.to_v": "blocks.2.self_attn.v",
    "blocks.0.attn1.to_out.0": "blocks.0.self_attn.o",
    "blocks.1.attn2.to_q": "blocks.1.cross_attn.q",
    "blocks.2.attn2.to_k": "blocks.2.cross_attn.k",
    "blocks.0.attn2.to_v": "blocks.0.cross_attn.v",
    "blocks.1.attn2.to_out.0": "blocks.1.cross_attn.o",
    "blocks.2.ffn.net.0.proj": "blocks.2.ffn.0",
    "blocks.0.ffn.net.2": "blocks.0.ffn.2",
    "blocks.1.audio_cross_attn.kv_linear": "blocks.1.audio_cross_attn.kv_linear",
    "condition_embedder.time_proj": "time_projection.1",
    "proj_out": "head.head",
}


@pytest.mark.parametrize("spelling", ["diffusers", "original"])
def test_velocity(tmp_path, spelling):
    folder.save(tmp_path, "transformer", CONFIG, random_params(CONFIG))
    twin, rng, tensors = ActAvatarTwin.from_folder(tmp_path), np.random.default_rng(2), {}
    inputs = random_inputs(CONFIG)
    with torch.no_grad():
        before = theirs(twin, *inputs)
        for layer, original in LAYERS.items():
            weight = twin.get_submodule(layer).weight
            down = rng.standard_normal((RANK, weight.shape[1])).astype(np.float32) * weight.shape[1] ** -0.5
            up = 0.3 * rng.standard_normal((weight.shape[0], RANK)).astype(np.float32)
            weight += torch.from_numpy(STRENGTH * ALPHA / RANK * up @ down)
            name, a, b = (
                (f"transformer.{layer}", "lora_A", "lora_B")
                if spelling == "diffusers"
                else (f"diffusion_model.{original}", "lora_down", "lora_up")
            )
            tensors |= {
                f"{name}.{a}.weight": down,
                f"{name}.{b}.weight": up,
                f"{name}.alpha": np.array(ALPHA, np.float32),
            }
        wanted = theirs(twin, *inputs)
    save_file(tensors, tmp_path / "style.safetensors")
    part = folder.load(tmp_path, "transformer", loras=[f"{tmp_path / 'style.safetensors'}:{STRENGTH}"])
    assert error(before, wanted) > 0.1
    assert error(ours_compiled(CONFIG, part.params, *inputs), wanted) < TOLERANCE
