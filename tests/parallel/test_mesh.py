from types import SimpleNamespace

import jax
import pytest
from jax.sharding import AbstractMesh, AxisType

from actavatar_jax.errors import InputError
from actavatar_jax.models.dit import DiTConfig
from actavatar_jax.parallel.mesh import AXES, check_fit, make_mesh

EIGHT = [SimpleNamespace(platform="cpu") for _ in range(8)]
TWO_SLICES = [SimpleNamespace(platform="tpu", slice_index=i // 4) for i in range(8)]


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
        check_fit(mesh, config, batch=12, grid=(32, 44, 80))
    for misfit in (
        "24 attention heads do not divide by seq = 5",
        "32 latent frames do not divide by seq = 5",
        "a batch of 12 does not divide by data x fsdp = 8",
    ):
        assert misfit in str(error.value)
    with pytest.raises(InputError, match="a batch of 40 does not divide by data x fsdp = 8 in 2 micro-batches"):
        check_fit(AbstractMesh((2, 4, 4), AXES), config, batch=40, grid=(32, 44, 80), micro_batches=2)
    check_fit(AbstractMesh((2, 4, 4), AXES), config, batch=40, grid=(32, 44, 80))
