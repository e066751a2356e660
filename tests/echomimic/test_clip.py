"""`CLIPVision` against transformers' `CLIPVisionModel`, through the names of the public file, float32."""

import jax
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.echomimic import FILES, open_file, write_file
from actavatar_jax.errors import InputError
from actavatar_jax.models import Execution
from actavatar_jax.models.clip import CLIPVision, CLIPVisionConfig
from tests.echomimic.small import relative_error

torch = pytest.importorskip("torch")

CONFIG = CLIPVisionConfig(width=24, heads=3, ffn=40, layers=3, image_size=20, patch=5)
# Below one block: theirs in the public file, theirs in transformers.
BLOCK = {
    "norm1": "layer_norm1",
    "norm2": "layer_norm2",
    "attn.proj": "self_attn.out_proj",
    "mlp.0": "mlp.fc1",
    "mlp.2": "mlp.fc2",
}


@pytest.fixture(scope="module")
def theirs():
    """transformers' model with one block more than is used, every parameter random."""
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 4, "num_attention_heads": 3}
    config = transformers.CLIPVisionConfig(**sizes, image_size=20, patch_size=5, hidden_act="gelu", layer_norm_eps=1e-5)
    torch.manual_seed(0)
    model = transformers.CLIPVisionModel(config).eval()
    for name, parameter in model.named_parameters():
        gain = "norm" in name and name.endswith("weight")
        spread = 0.2 if parameter.ndim == 1 else parameter[0].numel() ** -0.5
        parameter.data = torch.randn(parameter.shape) * spread + (1.0 if gain else 0.0)
    return model


@pytest.fixture(scope="module")
def folder(theirs, tmp_path_factory):
    """The public file with these weights, and with all else that lies in it."""
    state = {name.removeprefix("vision_model."): tensor for name, tensor in theirs.state_dict().items()}
    file = {
        "visual.patch_embedding.weight": state["embeddings.patch_embedding.weight"],
        "visual.cls_embedding": state["embeddings.class_embedding"].reshape(1, 1, -1),
        "visual.pos_embedding": state["embeddings.position_embedding.weight"][None],
        "visual.head": torch.randn(24, 8),
        "log_scale": torch.tensor(1.0),
        "textual.token_embedding.weight": torch.randn(7, 5),
    }
    for kind in ("weight", "bias"):
        file[f"visual.pre_norm.{kind}"] = state[f"pre_layrnorm.{kind}"]
        file[f"visual.post_norm.{kind}"] = state[f"post_layernorm.{kind}"]
        for i in range(4):
            block, theirs = f"visual.transformer.{i}", f"encoder.layers.{i}"
            qkv = [state[f"{theirs}.self_attn.{letter}_proj.{kind}"] for letter in "qkv"]
            file[f"{block}.attn.to_qkv.{kind}"] = torch.cat(qkv)
            for name, other in BLOCK.items():
                file[f"{block}.{name}.{kind}"] = state[f"{theirs}.{other}.{kind}"]
    place = tmp_path_factory.mktemp("clip")
    torch.save(file, place / FILES["image_encoder"].name)
    return place


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["xla", "chunked"])
def test_hidden_state(theirs, folder, attention):
    params = open_file("image_encoder", folder, CONFIG).read()
    pixels = np.random.default_rng(0).standard_normal((2, 20, 20, 3)).astype(np.float32)
    with torch.no_grad():
        states = theirs(torch.from_numpy(pixels).permute(0, 3, 1, 2), output_hidden_states=True).hidden_states
    forward = jax.jit(lambda p, x: functional.bind(CLIPVision, CONFIG, p, Execution(attention=attention))(x))
    got = forward(params, pixels)
    assert got.shape == (2, 17, 24)
    assert relative_error(got, states[-2].numpy()) < 1e-5
    assert relative_error(got, states[-1].numpy()) > 1e-2


def test_file_comes_back(folder, tmp_path):
    """Bit for bit, without what is not used."""
    name = FILES["image_encoder"].name
    write_file("image_encoder", tmp_path, CONFIG, open_file("image_encoder", folder, CONFIG).read())
    before, after = (torch.load(place / name, weights_only=True) for place in (folder, tmp_path))
    assert {n for n in before if n not in after} == {
        *("visual.head", "log_scale", "textual.token_embedding.weight"),
        *(n for n in before if n.startswith(("visual.post_norm.", "visual.transformer.3."))),
    }
    assert all(torch.equal(tensor, before[n]) for n, tensor in after.items())


def test_full_size_is_the_published_tower():
    config = CLIPVisionConfig()
    assert functional.count(functional.abstract(CLIPVision, config)) == 611_086_080
    assert config.tokens == 257
    assert len(FILES["image_encoder"].table(config)) == 392 - 12 - 2 - 1  # a block, the last norm, the head


def test_wrong_pictures_and_sizes():
    model = functional.bind(CLIPVision, CONFIG, functional.abstract(CLIPVision, CONFIG))
    with pytest.raises(InputError, match="CLIP got pictures of 24x20; accepted is 20x20"):
        jax.eval_shape(model, jax.ShapeDtypeStruct((1, 20, 24, 3), np.float32))
    with pytest.raises(InputError, match="accepted are multiples"):
        CLIPVisionConfig(image_size=223)
