"""Names of clusters, and the figures of chips."""

import importlib.util

import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.models.execution import Execution
from actavatar_jax.planning import chips, topology
from actavatar_jax.planning.chips import GIB


@pytest.mark.parametrize(
    ("name", "chip", "shape", "slices"),
    [
        ("v5e:4x4", "v5e", "4x4", 1),
        ("v6e:2x4", "v6e", "2x4", 1),
        ("v5p:8x8x4", "v5p", "8x8x4", 1),
        ("2x v5p:2x2x2", "v5p", "2x2x2", 2),
        ("tpu7x:2x2x1", "tpu7x", "2x2x1", 1),
        ("4xH100:8", "h100", "8", 4),
        ("v6e:1", "v6e", "1", 1),
    ],
)
def test_topology_names(name, chip, shape, slices):
    place = topology.parse(name)
    assert (place.chip.name, place.shape, place.slices) == (chip, shape, slices)
    assert topology.parse(str(place)) == place


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("v5p", "accepted is a TPU slice such as v5e:4x4"),
        ("v9:2x2", "accepted is a TPU slice such as v5e:4x4"),
        ("0xv5e:4x4", "accepted is"),
        ("v5e:3x5", "v5e comes as 1, 2x2, 2x4, 4x4"),
        ("v5p:4x4x6", "and multiples of 4x4x4"),
        ("v5p:4x4", "v5p comes as"),
        ("2xv6e:1", "v6e comes as 1, 2x2"),
        ("h100:16", "h100 comes as 1 to 8; more of them are several nodes"),
    ],
)
def test_what_does_not_exist_is_told_with_what_does(name, message):
    with pytest.raises(InputError, match=f"There is no topology.*{message}"):
        topology.parse(name)


def test_chips_have_the_figures_of_their_sources():
    table = chips.CHIPS
    assert table["v5p"].peak == 459e12 and table["v5p"].memory == int(95.74 * GIB)
    # 1200 GB/s in both directions over six links: 200 GB/s sent along an axis, on two of them.
    assert (table["v5p"].link, table["v5e"].link, table["v6e"].link) == (200e9, 100e9, 200e9)
    assert table["tpu7x"].link == 100e9  # two devices share a chip's links
    assert table["h200"].memory == pytest.approx(0.92 * 141 * GIB)
    assert table["h200"].bandwidth == 4.8e12 and table["tpu7x"].bandwidth == 3690e9


def test_float32_products_are_as_fast_as_their_passes():
    h100, v6e = chips.CHIPS["h100"], chips.CHIPS["v6e"]
    assert h100.peak_of(Execution(dtype="bfloat16")) == 2 * h100.peak_of(Execution(precision="high"))
    assert v6e.peak_of(Execution()) == v6e.peak and v6e.peak_of(Execution(precision="high")) == v6e.peak / 3


@pytest.mark.parametrize(("where", "extra"), [("v5p:2x2x2", "tpu"), ("h100:8", "cuda")])
def test_a_missing_compiler_is_named_with_the_extra_that_brings_it(where, extra, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=rf"pip install actavatar-jax\[{extra}\]"):
        topology.devices(topology.parse(where))
