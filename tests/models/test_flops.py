import dataclasses

import pytest

from actavatar_jax.models import forward_flops, peak_flops, train_flops
from actavatar_jax.models.avatar import DiTConfig
from actavatar_jax.models.flops import products

BARE = DiTConfig()


@pytest.mark.parametrize(
    ("grid", "teraflops"), [((31, 44, 80), 517), ((21, 44, 80), 290), ((31, 30, 52), 162), ((21, 32, 32), 59)]
)
def test_the_backbone_takes_what_is_published_of_it(grid, teraflops):
    """Blocks by N (12 L D^2 + 4 S D^2 + 4 L D F + 4 L^2 D + 4 L S D); the rest of the backbone is below 1 %."""
    assert sum(products(BARE, grid)[:2]) / 1e12 == pytest.approx(teraflops, rel=0.012)


def test_adapter_and_frozen_weights_are_counted():
    grid = (32, 44, 80)
    assert 0.05 < products(BARE, grid).adapter / forward_flops(BARE, grid) < 0.15
    assert train_flops(BARE, grid) == 3 * forward_flops(BARE, grid)
    saved = train_flops(BARE, grid) - train_flops(BARE, grid, frozen_backbone=True)
    assert saved == products(BARE, grid).weights
    deeper = dataclasses.replace(BARE, layers=60)
    assert forward_flops(deeper, grid) / forward_flops(BARE, grid) == pytest.approx(2, rel=0.01)


@pytest.mark.parametrize(
    ("kind", "teraflops"),
    [("NVIDIA H200", 989), ("NVIDIA H100 80GB HBM3", 989), ("TPU v5 lite", 197), ("TPU v5", 459), ("TPU v6 lite", 918)],
)
def test_known_devices(kind, teraflops):
    assert peak_flops(kind) == teraflops * 1e12


def test_an_unknown_device_has_no_peak():
    assert peak_flops("cpu") is None and peak_flops("NVIDIA H100 PCIe") is None
