"""Where weights wait: chosen by their sizes and the memory that is there, and the same result from everywhere."""

import dataclasses
import gc
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.models import PRESETS
from actavatar_jax.models.avatar import ActAvatarDiT
from actavatar_jax.puppets.recipe import SHIPPED
from actavatar_jax.weights import COMPONENTS, DEVICE, HOST, choose_residences, folder, kind_of, part_sizes, residence
from actavatar_jax.weights.residence import LEAVING, ON_DEMAND, leaving, size_of

GIB = 2**30
FULL = PRESETS["wan22_ti2v_5b"]


def full_sizes(quantize=None):
    """Of the full-size parts as an accelerator reads them."""
    ways = dict.fromkeys(("transformer", "text_encoder"), ("bfloat16", quantize))
    configs = {name: getattr(FULL, name) for name in COMPONENTS}
    return {n: size_of(kind_of(n, c), c, *ways.get(n, ("float32",))) for n, c in configs.items()}


def test_sizes_are_those_of_the_weights_that_are_read():
    sizes = part_sizes(SHIPPED, "bfloat16")
    for name in COMPONENTS:
        dtype = "bfloat16" if name in ("transformer", "text_encoder") else "float32"
        params = folder.load(SHIPPED, name, dtype=dtype).params
        assert sum(leaf.nbytes for leaf in jax.tree.leaves(params)) == sizes[name], name
    assert 10.7 < full_sizes()["transformer"] / GIB < 11.1  # 5.78 billion, and 0.16 billion of them in float32
    assert full_sizes("int8")["transformer"] < 0.58 * full_sizes()["transformer"]


@pytest.mark.parametrize(
    ("memory", "host", "elsewhere"),
    [
        ("80GB", 200, {}),
        ("32GB", 64, {"text_encoder": HOST}),
        ("24GB", 64, {"text_encoder": HOST, "vae": HOST}),
        ("24GB", 8, {"text_encoder": ON_DEMAND, "vae": ON_DEMAND}),
        ("16GB", 64, dict.fromkeys(("text_encoder", "vae", "audio_encoder", "transformer"), HOST)),
    ],
)
def test_what_does_not_fit_waits_elsewhere(memory, host, elsewhere, monkeypatch):
    monkeypatch.setattr(residence, "host_memory", lambda: host * GIB)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert choose_residences(full_sizes(), memory) == dict.fromkeys(COMPONENTS, DEVICE) | elsewhere


def test_parts_leave_until_each_has_room_for_its_own_work():
    sizes, working = full_sizes(), {"transformer": 5 * GIB, "text_encoder": 0, "audio_encoder": 0, "vae": 15 * GIB}
    assert leaving(sizes, 40 * GIB, working) == []
    assert leaving(sizes, 30 * GIB, working) == ["text_encoder"]
    assert leaving(sizes, 22 * GIB, working) == [
        name for name in LEAVING if name in sizes
    ]  # the VAE cannot work beside the transformer
    assert leaving(sizes, 22 * GIB) == ["text_encoder", "vae"]  # which nobody can know
    assert leaving(sizes, 22 * GIB, working | {"vae": 8 * GIB}) == ["text_encoder", "vae"]


def test_on_a_cpu_the_hosts_memory_is_no_other_place(monkeypatch):
    monkeypatch.setattr(residence, "host_memory", lambda: 24 * GIB)
    assert choose_residences(full_sizes())["text_encoder"] == ON_DEMAND


@pytest.mark.parametrize("text", ["much", "0GB", "24", "-3GB", "1.2.3GB"])
def test_a_size_that_cannot_be_read_is_refused(text):
    with pytest.raises(InputError, match=r"accepted is auto, or a size such as 24GB"):
        choose_residences({}, text)


@pytest.mark.parametrize("place", [DEVICE, HOST, ON_DEMAND])
def test_parameters_come_to_the_device_and_only_residents_stay(place, monkeypatch):
    part = folder.load(SHIPPED, "audio_encoder", "float32", residence=place)
    assert (part.params is None) == (place == ON_DEMAND)
    want = folder.load(SHIPPED, "audio_encoder", "float32").params
    with pytest.raises(MemoryError), part.on_device() as params:
        raise MemoryError
    assert all(leaf.is_deleted() == (place != DEVICE) for leaf in jax.tree.leaves(params))
    for _ in range(2):
        with part.on_device() as params:
            assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(params))
            jax.tree.map(np.testing.assert_array_equal, params, want)
        assert all(leaf.is_deleted() == (place != DEVICE) for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize("place", [DEVICE, ON_DEMAND])
def test_the_host_never_holds_all_that_goes_to_the_device(place, tmp_path, monkeypatch):
    """Arrays of NumPy are counted; what XLA copied is the device's. A CPU shares arrays that happen to lie right: here
    it copies, as every other device does."""
    put = jax.device_put
    monkeypatch.setattr(jax, "device_put", lambda *args, **kwargs: jax.tree.map(jnp.copy, put(*args, **kwargs)))
    config = dataclasses.replace(PRESETS["tiny"].transformer, layers=8, width=128, head_dim=64, ffn=128)
    shapes = functional.flatten(functional.abstract(ActAvatarDiT, config))
    flat = {name: np.ones(leaf.shape, np.float32) for name, leaf in shapes.items()}
    folder.save(tmp_path, "transformer", config, functional.unflatten(flat))
    whole, largest = (of(leaf.nbytes for leaf in flat.values()) for of in (sum, max))
    assert 8 * largest < whole
    part = folder.load(tmp_path, "transformer", residence=ON_DEMAND)
    with part.on_device():  # whatever is imported at the first use
        pass
    gc.collect()
    tracemalloc.start()
    with folder.load(tmp_path, "transformer", residence=place).on_device() as params:
        jax.block_until_ready(params)
        most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert largest < most < whole / 4  # one that is read, one that goes up, and what is let go of late
