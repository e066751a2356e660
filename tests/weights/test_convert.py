"""torch -> ours -> torch is bitwise identity in both layouts."""

import dataclasses
import json
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.diffusion import Sampling
from actavatar_jax.errors import InputError
from actavatar_jax.models import PatchCodec, PatchCodecConfig
from actavatar_jax.weights import check_parts, components, convert, folder, pth, reader

torch = pytest.importorskip("torch")

STEMS = {
    "transformer": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
    "audio_encoder": "model",
}
COMPONENTS = tuple(STEMS)
DEFAULTS = folder.Defaults(
    25, 4096, "blur", Sampling(shift=3.0), ((64, 64),), (25,), strangest_portrait=26.5, world={"side": 64}
)


def random_params(module, config):
    rng = np.random.default_rng(0)
    draw = lambda leaf: rng.normal(size=leaf.shape).astype(np.float32)  # noqa: E731
    return jax.tree.map(draw, functional.abstract(module, config))


def tensors(source):
    return {name: (source.dtype(name), source.shape(name), source.read(name).tobytes()) for name in source.names()}


def content(path, component):
    return tensors(components.open_tensors(path / component, STEMS[component]))


@pytest.fixture(scope="module")
def complete(diffusers_folder, tmp_path_factory):
    """The small folder with adapters that are not at their initial values, and defaults of its own."""
    path = shutil.copytree(diffusers_folder, tmp_path_factory.mktemp("ours") / "complete")
    part = folder.load(path, "transformer")
    params = random_params(part.module, part.config)
    folder.save(path, "transformer", part.config, params, max_shard_bytes=50_000)
    folder.save_index(path, DEFAULTS)
    return path


@pytest.fixture(scope="module")
def wan(complete, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "wan"
    convert.to_torch(complete, out, layout="wan")
    return out


def test_diffusers_to_ours_to_diffusers(diffusers_folder, tmp_path):
    convert.from_torch(diffusers_folder, tmp_path / "ours")
    convert.to_torch(tmp_path / "ours", tmp_path / "back", layout="diffusers")
    for component in COMPONENTS:
        assert content(diffusers_folder, component) == content(tmp_path / "back", component)
        config = (diffusers_folder / component / "config.json").read_text()
        assert (tmp_path / "back" / component / "config.json").read_text() == config
    for file in (
        "audio_encoder/preprocessor_config.json",
        "tokenizer/tokenizer.json",
        "scheduler/scheduler_config.json",
    ):
        assert (tmp_path / "back" / file).read_bytes() == (diffusers_folder / file).read_bytes()


def test_wan_layout_has_the_releases_files_and_names(wan):
    assert {path.name for path in wan.iterdir()} == {
        "config.json",
        "diffusion_pytorch_model.safetensors",
        "Wan2.2_VAE.pth",
        "models_t5_umt5-xxl-enc-bf16.pth",
        "audio_encoder",
        "google",
    }
    assert (wan / "google" / "umt5-xxl" / "tokenizer.json").is_file()
    transformer = reader.Safetensors(wan / "diffusion_pytorch_model.safetensors").names()
    assert {"head.modulation", "blocks.2.norm3.bias", "blocks.0.self_attn.o.weight", "audio_proj.proj1.bias"} <= {
        *transformer
    }
    vae = torch.load(wan / "Wan2.2_VAE.pth", weights_only=True)
    assert (
        vae["encoder.conv1.weight"].dtype == torch.float32 and "decoder.upsamples.0.upsamples.0.residual.2.bias" in vae
    )
    text = torch.load(wan / "models_t5_umt5-xxl-enc-bf16.pth", weights_only=True)
    assert text["blocks.1.ffn.gate.0.weight"].dtype == torch.bfloat16


@pytest.mark.parametrize("component", COMPONENTS)
def test_the_wan_layout_loads_as_it_is(complete, wan, component):
    ours, theirs = folder.load(complete, component), folder.load(wan, component)
    assert ours.config == theirs.config
    same = jax.tree.map(lambda a, b: a.dtype == b.dtype and a.tobytes() == b.tobytes(), ours.params, theirs.params)
    assert jax.tree.all(same)


def test_the_parts_of_every_layout_fit(diffusers_folder, complete, wan):
    plain, ours, theirs = (check_parts(path) for path in (diffusers_folder, complete, wan))
    assert plain == ours == theirs


@pytest.mark.parametrize("layout", ["complete", "wan"])
def test_the_form_of_the_text_and_the_rate_are_recorded_and_nothing_else_changes(request, layout, tmp_path):
    source = request.getfixturevalue(layout)
    convert.from_torch(source, tmp_path / "tie", phase_time="tie", rate=16)
    convert.from_torch(source, tmp_path / "plain")
    tie, plain = (folder.find(tmp_path / name, "transformer").config for name in ("tie", "plain"))
    assert tie == dataclasses.replace(plain, phase_time="tie", latent_rate=4.0)
    assert (plain.phase_time, plain.rate) == ("paper", 25)
    assert content(tmp_path / "tie", "transformer") == content(tmp_path / "plain", "transformer")
    with pytest.raises(InputError, match="phase_time is 'evil'; accepted is paper, relay"):
        convert.from_torch(source, tmp_path / "x", phase_time="evil")
    with pytest.raises(InputError, match="rate is 24; accepted is 16 or 25"):
        convert.from_torch(source, tmp_path / "x", rate=24)
    convert.from_torch(tmp_path / "tie", tmp_path / "again")
    assert folder.find(tmp_path / "again", "transformer").config == tie


@pytest.mark.slow
def test_wan_to_ours_to_wan(complete, wan, tmp_path):
    convert.from_torch(wan, tmp_path / "ours")
    for component in COMPONENTS:
        want = content(complete, component)
        want.pop("encoder.embed_tokens.weight", None)  # the copy of a tied tensor
        assert content(tmp_path / "ours", component) == want
        assert folder.load(tmp_path / "ours", component).config == folder.load(complete, component).config
    assert folder.load_defaults(tmp_path / "ours") == folder.load_defaults(wan) == DEFAULTS
    assert (tmp_path / "ours" / "tokenizer" / "tokenizer.json").is_file()

    convert.to_torch(tmp_path / "ours", tmp_path / "back", layout="wan")
    assert json.loads((tmp_path / "back" / "config.json").read_text()) == json.loads((wan / "config.json").read_text())
    for file in ("Wan2.2_VAE.pth", "models_t5_umt5-xxl-enc-bf16.pth"):
        assert tensors(pth.Pth(wan / file)) == tensors(pth.Pth(tmp_path / "back" / file))
    file = "diffusion_pytorch_model.safetensors"
    assert tensors(reader.Safetensors(wan / file)) == tensors(reader.Safetensors(tmp_path / "back" / file))


def test_plain_backbone_stays_plain(diffusers_folder, tmp_path):
    plain = shutil.copytree(diffusers_folder, tmp_path / "plain", ignore=shutil.ignore_patterns("audio_encoder"))
    convert.to_torch(plain, tmp_path / "wan", layout="wan")
    convert.from_torch(tmp_path / "wan", tmp_path / "ours")
    assert content(tmp_path / "ours", "transformer") == content(plain, "transformer")
    assert not (tmp_path / "ours" / "audio_encoder").exists()


def test_progress_reaches_the_end(complete, tmp_path):
    seen = {}
    convert.to_torch(
        complete, tmp_path / "out", "wan", report=lambda part, done, total: seen.update({part: (done, total)})
    )
    assert set(seen) == set(COMPONENTS)
    assert all(done == total for done, total in seen.values())


def test_nothing_half_written(complete, tmp_path, monkeypatch):
    source = shutil.copytree(complete, tmp_path / "source")
    file = source / "text_encoder" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InputError, match="is cut off"):
        convert.to_torch(source, tmp_path / "out", layout="wan")

    def fail(*_):
        raise OSError("disk")

    monkeypatch.setattr(convert, "write_pth", fail)
    with pytest.raises(OSError, match="disk"):
        convert.to_torch(complete, tmp_path / "out", layout="wan")
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == ["source"]


def test_wrong_input(complete, tmp_path):
    with pytest.raises(InputError, match="is there already"):
        convert.from_torch(complete, tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file is no folder that may be written"):
        convert.from_torch(complete, tmp_path / "file" / "out")
    with pytest.raises(InputError, match="no layout 'gguf'; accepted are diffusers and wan"):
        convert.to_torch(complete, tmp_path / "out", layout="gguf")
    source = shutil.copytree(complete, tmp_path / "source")
    safetensors = pytest.importorskip("safetensors.numpy")
    file = source / "vae" / "diffusion_pytorch_model.safetensors"
    safetensors.save_file({"stray": np.zeros(1)} | safetensors.load_file(file), file)
    with pytest.raises(InputError, match=r"1 tensors do not fit the vae of .*source: unknown stray"):
        convert.to_torch(source, tmp_path / "out")
    config = PatchCodecConfig(channels=5)
    folder.save(source, "vae", config, random_params(PatchCodec, config))
    with pytest.raises(InputError, match="PatchCodec"):
        convert.to_torch(source, tmp_path / "out", layout="wan")
    convert.to_torch(source, tmp_path / "out", layout="diffusers")
    shutil.rmtree(source / "vae")
    with pytest.raises(InputError, match="holds no vae"):
        convert.from_torch(source, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_what_cannot_be_copied_is_told_before_anything_is_written(complete, tmp_path):
    source = shutil.copytree(complete, tmp_path / "source")
    (source / "tokenizer" / "spiece.model").symlink_to("/gone/blob")
    with pytest.raises(InputError, match=r"spiece\.model is a link to /gone/blob, where there is no file"):
        convert.from_torch(source, tmp_path / "out")
    (source / "tokenizer" / "spiece.model").unlink()
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
    (source / "vae" / "old.bin").symlink_to("/gone/blob")  # weights in other forms are not copied
    convert.from_torch(source, tmp_path / "out")
    assert not (tmp_path / "out" / "vae" / "old.bin").is_symlink()


def test_a_full_disk_is_told_before_anything_is_written(complete, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with pytest.raises(InputError, match=r"out needs \d+ MB of disk, of which 0 MB are free"):
        convert.from_torch(complete, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_two_conversions_into_one_folder(complete, tmp_path):
    """The second one is told while the first one works; the first one ends well."""
    told = []

    def start_another(*_):
        if not told:
            with pytest.raises(InputError, match="is being changed by process") as error:
                convert.from_torch(complete, tmp_path / "out")
            told.append(error.value)

    convert.from_torch(complete, tmp_path / "out", report=start_another)
    assert told and content(tmp_path / "out", "vae") == content(complete, "vae")
    with pytest.raises(InputError, match="is there already"):
        convert.from_torch(complete, tmp_path / "out")


def test_a_prefix_is_left_out_of_what_is_written(complete, tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    source = shutil.copytree(complete, tmp_path / "source")
    file = source / "vae" / "diffusion_pytorch_model.safetensors"
    safetensors.save_file({f"module.{name}": x for name, x in safetensors.load_file(file).items()}, file)
    convert.from_torch(source, tmp_path / "out")
    assert content(tmp_path / "out", "vae") == content(complete, "vae")


KILLED = """
import os, signal, sys
from actavatar_jax.weights import from_torch
from_torch(*sys.argv[1:], report=lambda *_: os.kill(os.getpid(), signal.SIGKILL))
"""


@pytest.mark.slow
def test_a_kill_leaves_nothing_in_the_way(complete, tmp_path):
    run = subprocess.run([sys.executable, "-c", KILLED, str(complete), str(tmp_path / "out")], check=False)
    assert run.returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob(".out.*.partial"))) == 1 and not (tmp_path / "out").exists()
    convert.from_torch(complete, tmp_path / "out")
    assert content(tmp_path / "out", "transformer") == content(complete, "transformer")
    assert not list(tmp_path.glob(".out.*.partial"))
