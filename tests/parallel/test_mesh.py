import dataclasses
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType

from actavatar_jax.errors import InputError
from actavatar_jax.models.avatar import DiTConfig
from actavatar_jax.parallel import AXES, check_fit, local_rows, make_mesh

EIGHT = [SimpleNamespace(platform="cpu") for _ in range(8)]
TWO_SLICES = [SimpleNamespace(platform="tpu", slice_index=i // 4) for i in range(8)]


@dataclasses.dataclass(frozen=True)
class Tpu:
    """A device of a single slice: it does not say which slice it is of."""

    id: int
    process_index: int
    platform: str = "tpu"
    device_kind: str = "TPU v5p"
    core_on_chip: int = 0

    @property
    def coords(self):
        return self.id % 2, self.id // 2 % 2, self.id // 4


ONE_SLICE = [Tpu(i, i // 4) for i in range(8)]  # 2x2x2 chips of two hosts


def test_neighbours_along_seq_are_neighbours_in_a_slice_of_tpus():
    mesh = make_mesh("1,4,2", ONE_SLICE)
    assert mesh.axis_names == AXES and set(mesh.devices.flat) == set(ONE_SLICE)
    for one, other in mesh.devices.reshape(4, 2):
        assert np.abs(np.subtract(one.coords, other.coords)).sum() == 1


@pytest.mark.parametrize(
    ("process", "shape", "rows"),
    [
        (0, "2,2,2", [0, 1, 2, 3]),
        (1, "2,2,2", [4, 5, 6, 7]),
        (1, "1,1,8", [0, 1, 2, 3, 4, 5, 6, 7]),  # both hold frames of every sample
    ],
)
def test_a_process_loads_the_samples_of_its_own_devices(process, shape, rows, monkeypatch):
    devices = np.asarray(ONE_SLICE).reshape([int(size) for size in shape.split(",")])
    monkeypatch.setattr(jax, "process_index", lambda: process)
    assert local_rows(jax.sharding.Mesh(devices, AXES), 8).tolist() == rows


def test_a_batch_that_does_not_divide_is_refused():
    mesh = jax.sharding.Mesh(np.asarray(ONE_SLICE).reshape(2, 2, 2), AXES)
    for batch in (6, 1):
        with pytest.raises(InputError, match=f"A batch of {batch} does not divide by data x fsdp = 4"):
            local_rows(mesh, batch)


def test_the_devices_that_are_left_fill_the_open_place():
    mesh = make_mesh("1,-1,1", jax.devices()[:1])
    assert dict(mesh.shape) == {"data": 1, "fsdp": 1, "seq": 1}
    assert mesh.axis_types == (AxisType.Auto,) * 3


@pytest.mark.parametrize(
    ("shape", "devices", "reason"),
    [
        ("2,2", EIGHT, '"2,2" is no mesh'),
        ("2,x,1", EIGHT, '"2,x,1" is no mesh'),
        ("-1,-1,1", EIGHT, "one of which may be -1"),
        ((2, 0, 4), EIGHT, '"2,0,4" is no mesh'),
        ("2,2,1", EIGHT, r"needs 4 devices; there are 8"),
        ("3,-1,1", EIGHT, r"needs a multiple of 3 devices; there are 8"),
        ("1,8,1", TWO_SLICES, "there are 2 slices of TPUs; data must be a multiple"),
    ],
)
def test_a_mesh_that_cannot_be_is_refused(shape, devices, reason):
    with pytest.raises(InputError, match=reason):
        make_mesh(shape, devices)


def test_everything_that_does_not_divide_is_named_with_its_axis():
    mesh, config = AbstractMesh((2, 4, 5), AXES), DiTConfig()
    with pytest.raises(InputError) as error:
        check_fit(mesh, config.heads, batch=12, grid=(32, 44, 80))
    for misfit in (
        "24 attention heads do not divide by seq = 5",
        "32 latent frames do not divide by seq = 5",
        "a batch of 12 does not divide by data x fsdp = 8",
    ):
        assert misfit in str(error.value)
    with pytest.raises(InputError, match="a batch of 40 does not divide by data x fsdp = 8 in 2 micro-batches"):
        check_fit(AbstractMesh((2, 4, 4), AXES), config.heads, batch=40, grid=(32, 44, 80), micro_batches=2)
    check_fit(AbstractMesh((2, 4, 4), AXES), config.heads, batch=40, grid=(32, 44, 80))
