"""`launch/bench.py networks` at tiny sizes: every row is there, and of the same computation on both sides.

And `avatarsync`: which of both ways does what.
"""

import dataclasses
import importlib
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from actavatar_jax.avatarsync import AvatarSyncPipeline
from actavatar_jax.media import Video
from actavatar_jax.models import UMT5Config, Wav2Vec2Config
from actavatar_jax.models.avatar import AudioAdapterConfig, DiTConfig
from actavatar_jax.models.wan_vae.vae import VAEConfig
from actavatar_jax.pipeline import ActAvatarPipeline
from actavatar_jax.puppets.world.clips import World
from launch import bench
from tests.avatarsync.tiny import tiny_parts

for package in ("torch", "diffusers", "transformers"):
    pytest.importorskip(package)

LAUNCH = Path(__file__).resolve().parents[1] / "launch"
ADAPTER = AudioAdapterConfig(feature_layers=2, feature_width=4, hidden=8, tokens=3, token_width=8)


@pytest.fixture
def networks(monkeypatch):
    monkeypatch.syspath_prepend(LAUNCH)  # as it is for the program itself
    return importlib.import_module("benchmarks.networks")


def tiny(networks):
    return networks.Sizes(
        transformer=DiTConfig(
            width=48, heads=2, head_dim=24, ffn=64, layers=2, in_channels=6, out_channels=6, text_dim=20, text_len=16,
            freq_dim=32, audio=ADAPTER,
        ),
        latents=((2, 4, 6), (3, 4, 6)),
        trained=(2, 4, 6),
        text_encoder=UMT5Config(vocab_size=99, width=40, heads=3, head_dim=16, ffn=56, layers=2),
        tokens=20,
        vae=VAEConfig(8, 12, 4, latents_mean=(-0.5, -0.1, 0.2, 0.4), latents_std=(0.5, 0.8, 1.1, 1.4)),
        clip=(5, 32, 32),
        audio_encoder=Wav2Vec2Config(
            hidden=48, layers=2, heads=3, ffn=80, conv_dim=(24, 32, 32, 32, 32, 32, 40), pos_conv_groups=4
        ),
        samples=4000,
    )  # fmt: skip


ROWS = {
    "dit": [("DiT forward", "12 tokens, 2 blocks of 48"), ("DiT forward", "18 tokens, 2 blocks of 48")],
    "training": [
        ("training step, stage 1", "12 tokens, 2 blocks of 48"),
        ("training step, stage 2", "12 tokens, 2 blocks of 48"),
    ],
    "umt5": [("umT5, float32", "20 tokens, 2 layers of 40"), ("umT5, bfloat16", "20 tokens, 2 layers of 40")],
    "vae": [("Wan VAE, encode", "32x32x5, base 8"), ("Wan VAE, decode", "32x32x5, base 12")],
    "wav2vec2": [("Wav2Vec2", "0.25 s, 2 layers of 48")],
}


@pytest.mark.slow
@pytest.mark.parametrize("part", ROWS)
def test_a_network_computes_what_its_original_does(networks, capsys, quick_compilation, part):
    networks.print_table(tiny(networks), [part], pairs=1)
    table, _, growth = capsys.readouterr().out.partition("\n\n")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    assert [(name, size) for name, size, *_ in rows] == ROWS[part]
    for name, _, ours, theirs, ratio, difference in rows:
        assert float(ratio) == pytest.approx(float(ours) / float(theirs), rel=0.02, abs=0.01)
        assert float(difference) < (0.05 if "bfloat16" in name else 1e-4)
    assert growth.startswith("Time of the DiT's forward grows") == (part == "dit")


def test_every_part_has_its_rows_tested(networks):
    assert list(networks.PARTS) == list(ROWS)


def test_growth_is_the_exponent_of_a_power_law(networks):
    sizes = np.array([880, 1760, 3520, 7040])
    assert networks.growth(sizes, 3e-4 * sizes**1.4) == pytest.approx(1.4)


def test_a_ratio_is_the_median_over_turns(networks):
    row = networks.Row("part", "size", ours=(1.0, 8.0, 3.0), theirs=(2.0, 4.0, 2.0), difference=0.0)
    assert row.ratio == 1.5


def test_a_part_that_is_none_is_one_sentence(networks):
    result = CliRunner().invoke(bench.app, ["networks", "--only", "dit,unet"])
    assert result.exit_code == 2
    assert result.output == (
        "error: There is no part 'unet' to measure; accepted are dit, training, umt5, vae, wav2vec2.\n"
    )


@pytest.fixture
def heads(monkeypatch):
    monkeypatch.syspath_prepend(LAUNCH)
    return importlib.import_module("benchmarks.avatarsync")


def test_units_are_timed_side_by_side_and_one_by_one(heads, quick_compilation):
    pipeline, pairs = AvatarSyncPipeline(tiny_parts()), []

    def interpolate(first, second, t):
        pairs.append(len(first))
        return np.broadcast_to(first[:, None], (*t.shape, *first.shape[1:]))

    pipeline.interpolate = interpolate
    rows = list(heads.measure(pipeline, (2, 4), turns=2))
    assert [row.units for row in rows] == [2, 4] and all(min(dataclasses.astuple(row)) > 0 for row in rows)
    # Three rounds each of all pairs at once, and of one after the other.
    assert pairs == [8, 1, 1] * 3 + [8, 1, 1, 1, 1] * 3


def test_growth_with_units_is_the_exponent_of_a_power_law(heads):
    rows = [heads.Row(n, 0.1, 0.2 * n, 0.1 * n**0.5, n**2.0) for n in (2, 5, 10, 20)]
    powers = [heads.exponent(rows, field.name) for field in dataclasses.fields(heads.Row)[1:]]
    np.testing.assert_allclose(powers, [0, 1, 0.5, 2], atol=1e-9)


def test_both_systems_make_the_same_video(heads, quick_compilation):
    pytest.importorskip("espeakng_loader")
    pipeline, seen = AvatarSyncPipeline(tiny_parts()), []
    pipeline.interpolate = lambda first, second, t: np.broadcast_to(first[:, None], (*t.shape, *first.shape[1:]))

    class Still(ActAvatarPipeline):
        def __init__(self):
            pass

        def __call__(self, image, audio, prompt, num_frames):
            seen.append(num_frames)
            return Video(np.repeat(image[None], num_frames, axis=0))

    taken = heads.compare(pipeline, Still(), World(side=64, frames=25), turns=1)
    assert list(taken) == ["AvatarSync", "ActAvatar"] and min(taken.values()) > 0 and seen == [25, 25]


def test_counts_that_are_none_are_one_sentence(heads):
    result = CliRunner().invoke(bench.app, ["avatarsync", "--counts", "4"])
    assert result.exit_code == 2 and "accepted are two or more numbers of units, as in 2,4,8" in result.output
