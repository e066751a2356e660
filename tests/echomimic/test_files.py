"""The public files in and out again, tensor by tensor."""

import re

import jax
import ml_dtypes
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.echomimic import (
    FILES,
    EchoMimicConfig,
    EchoMimicDiT,
    open_file,
    open_transformer,
    tables,
    write_file,
)
from actavatar_jax.echomimic.config import AUDIO
from actavatar_jax.errors import InputError
from actavatar_jax.models import UMT5Config
from actavatar_jax.models.wan_vae import Wan21VAEConfig
from actavatar_jax.weights import Safetensors, names, pth, write_sharded
from tests.echomimic.small import CONFIGS, random_params

NAME = FILES["transformer"].name
VARIANTS = ("preview", "flash")


def equal(got, want):
    got, want = functional.flatten(got), functional.flatten(want)
    assert got.keys() == want.keys()
    for name, leaf in want.items():
        assert got[name].dtype == leaf.dtype
        np.testing.assert_array_equal(got[name], leaf)


def shapes(table, config):
    leaves = functional.flatten(functional.abstract(EchoMimicDiT, config))
    return {entry.theirs: names.their_shape(entry, leaves[entry.ours].shape) for entry in table}


def backbone(table):
    return tuple(entry for entry in table if not re.fullmatch(AUDIO, entry.ours))


def tensors(folder, keep):
    """Those of a transformer's file whose names are kept."""
    file = Safetensors(folder / NAME)
    return {name: file.read(name) for name in file.names() if keep(name)}


def write(folder, arrays):
    write_sharded(folder, "diffusion_pytorch_model", names.Arrays(arrays))


@pytest.mark.parametrize(("variant", "count"), [("preview", 1076), ("flash", 1203)])
def test_full_size_tensors(variant, count):
    config = EchoMimicConfig(variant=variant)
    for layout in (tables.original, tables.diffusers):
        names.check_coverage(layout(config), functional.abstract(EchoMimicDiT, config))
        assert len(layout(config)) == count
        assert len(backbone(layout(config))) == 983
    found = shapes(tables.original(config), config)
    audio = {name: shape for name, shape in found.items() if "audio" in name and not re.search(r"blocks\.[1-9]", name)}
    width, block = 1536, "blocks.0.cross_attn"
    want = {f"{block}.{name}_audio.weight": (width, width) for name in ("k", "v")}
    want[f"{block}.norm_k_audio.weight"] = (width,)
    if variant == "preview":
        want["audio2token.proj.weight"] = (width, 768)
        want |= {f"audio2token.norm.{kind}": (width,) for kind in ("weight", "bias")}
    else:
        want[f"{block}.q_audio.weight"] = (width, width)
        want |= {f"{block}.{name}_audio.bias": (width,) for name in "qkv"}
        want |= {f"audio_injection.norm.{kind}": (width,) for kind in ("weight", "bias")}
        sizes = {"proj1": (512, 46080), "proj1_vf": (512, 73728), "proj2": (512, 512), "proj3": (49152, 512)}
        for name, size in sizes.items():
            want |= {f"audio_injection.{name}.weight": size, f"audio_injection.{name}.bias": size[:1]}
    assert audio == want


def test_backbone_is_diffusers_model():
    torch, diffusers = pytest.importorskip("torch"), pytest.importorskip("diffusers")
    with torch.device("meta"):
        model = diffusers.WanTransformer3DModel(
            num_attention_heads=12, attention_head_dim=128, num_layers=30, ffn_dim=8960, freq_dim=256, text_dim=4096,
            in_channels=36, out_channels=16, patch_size=(1, 2, 2), image_dim=1280, added_kv_proj_dim=1536,
        )  # fmt: skip
    want = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    config = EchoMimicConfig()
    assert shapes(backbone(tables.diffusers(config)), config) == want


def test_original_names_are_those_that_diffusers_converts():
    torch = pytest.importorskip("torch")
    convert = pytest.importorskip("diffusers.loaders.single_file_utils").convert_wan_transformer_to_diffusers
    config = CONFIGS["preview"]
    tags = {entry.theirs: torch.tensor(i) for i, entry in enumerate(backbone(tables.original(config)))}
    want = {name: int(value) for name, value in convert(tags).items()}
    assert want == {entry.theirs: i for i, entry in enumerate(backbone(tables.diffusers(config)))}


@pytest.mark.parametrize("variant", VARIANTS)
def test_transformer_comes_back(variant, tmp_path):
    params, config = random_params(variant), CONFIGS[variant]
    write_file("transformer", tmp_path, config, params)
    assert sorted(Safetensors(tmp_path / NAME).names()) == sorted(shapes(tables.original(config), config))
    equal(open_file("transformer", tmp_path, config).read(), params)


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_the_file_lacks_is_the_base_releases(variant, tmp_path):
    """Whichever of the two holds how much, speech is of EchoMimicV3's own file."""
    params, other, config = (
        random_params(variant),
        jax.tree.map(np.zeros_like, random_params(variant)),
        CONFIGS[variant],
    )
    write_file("transformer", tmp_path / "whole", config, params)
    write_file("transformer", tmp_path / "base", config, other)
    equal(open_transformer(tmp_path / "whole", tmp_path / "base", config).read(), params)

    audio = {entry.theirs for entry in tables.original(config) if re.fullmatch(AUDIO, entry.ours)}
    write(tmp_path / "speech", tensors(tmp_path / "whole", lambda name: name in audio))
    got = open_transformer(tmp_path / "speech", tmp_path / "base", config).read()
    own, rest = functional.split(functional.flatten(got), AUDIO)
    equal(own, functional.split(functional.flatten(params), AUDIO)[0])
    assert not any(np.any(leaf) for leaf in rest.values())

    lost = "blocks.1.cross_attn.v_audio.weight"
    write(tmp_path / "lossy", tensors(tmp_path / "speech", lambda name: name != lost))
    with pytest.raises(InputError, match=rf"^1 tensors do not fit the transformer of \S+lossy'?: missing '?{lost}"):
        open_transformer(tmp_path / "lossy", tmp_path / "base", config)


def test_other_names_are_told_in_one_sentence(tmp_path):
    config = CONFIGS["preview"]
    write_file("transformer", tmp_path / "right", config, random_params("preview"))
    wrong = tensors(tmp_path / "right", lambda name: name != "head.head.bias")
    wrong |= {"stray": np.zeros(3, np.float32), "img_emb.proj.0.bias": np.zeros(3, np.float32)}
    write(tmp_path / "wrong", wrong)
    with pytest.raises(InputError) as told:
        open_file("transformer", tmp_path / "wrong", config)
    sentence = str(told.value)
    assert sentence.startswith("3 tensors do not fit the transformer of")
    assert all(part in sentence for part in ("missing head.head.bias", "unknown stray", "expected [20]"))
    with pytest.raises(InputError, match=r"tensors do not fit .*missing .*audio_injection.*unknown .*audio2token"):
        open_file("transformer", tmp_path / "right", CONFIGS["flash"])


def test_kept_in_float32(tmp_path):
    """Where the rest is read in less: what computes in it."""
    config = CONFIGS["preview"]
    write_file("transformer", tmp_path, config, random_params("preview"))
    flat = functional.flatten(open_file("transformer", tmp_path, config, dtype=ml_dtypes.bfloat16).read())
    wide = {name for name, leaf in flat.items() if leaf.dtype == np.float32}
    norms = {"image_projection/in_norm", "image_projection/out_norm", "audio_projection/norm", "blocks/cross_norm"}
    leaves = {f"{norm}/{kind}" for norm in norms for kind in ("scale", "bias")} | {"blocks/modulation"}
    assert wide == leaves | {name for name in flat if name.startswith(("time_embedding", "time_projection", "head"))}


VAE = {"multipliers": (1, 2), "temporal_down": (True,), "res_blocks": 1}
VAE |= {"latents_mean": (0.0,) * 4, "latents_std": (1.0,) * 4}
PARTS = {
    "vae": Wan21VAEConfig(encoder_base=4, decoder_base=4, z_dim=4, **VAE),
    "text_encoder": UMT5Config(vocab_size=11, width=8, heads=2, head_dim=4, ffn=12, layers=2),
}


@pytest.mark.parametrize("part", PARTS)
def test_pytorch_files_come_back(part, tmp_path):
    torch = pytest.importorskip("torch")
    file, config = FILES[part], PARTS[part]
    rng = np.random.default_rng(0)
    abstract = functional.abstract(file.module, config)
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(ml_dtypes.bfloat16), abstract)
    write_file(part, tmp_path, config, params)
    state = torch.load(tmp_path / file.name, weights_only=True)
    assert state.keys() == {entry.theirs for entry in file.table(config)}
    equal(open_file(part, tmp_path, config).read(), params)
    source = pth.Pth(tmp_path / file.name)
    arrays = {name: source.read(name) for name in state}
    pth.write_pth(tmp_path / "more" / file.name, names.Arrays({**arrays, "stray": np.zeros(3, np.float32)}))
    with pytest.raises(InputError, match=f"1 tensors do not fit the {part} of .*: unknown stray"):
        open_file(part, tmp_path / "more", config)
    with pytest.raises(InputError, match="missing"):
        open_file(part, tmp_path / "nowhere", config)
