"""Weights go straight into sharded arrays and come back bitwise, on one process's devices and on two processes'."""

import functools
import os
import socket
import subprocess
import sys
import tracemalloc

import jax
import ml_dtypes
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.models import PRESETS, PatchCodec, PatchCodecConfig
from actavatar_jax.models.avatar import ActAvatarDiT, AudioAdapterConfig, DiTConfig
from actavatar_jax.weights import arrays, folder, initial, names, reader, write_adapter, writer
from actavatar_jax.weights.names import Entry
from actavatar_jax.weights.tables import dit

LIMIT = 8_000  # bytes in a file: the tensors take several
PROGRAM = f"""
import sys
from pathlib import Path

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from jaxtyping import install_import_hook

work, index, port = Path(sys.argv[1]), *map(int, sys.argv[2:])
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(f"localhost:{{port}}", 2, index)
install_import_hook("actavatar_jax", "beartype.beartype")

from actavatar_jax import functional
from actavatar_jax.models import PRESETS
from actavatar_jax.models.avatar import ActAvatarDiT
from actavatar_jax.weights import arrays, draw_leaves, folder, names, reader, write_adapter, writer
from actavatar_jax.weights.names import Entry

arrays.SLAB_BYTES, arrays.HOST_BYTES = 500, 2000  # every copy takes several slabs
table = (
    *(Entry(f"kernel.{{i}}", "blocks/kernel", names.LINEAR, i) for i in range(4)),
    *(Entry(f"bias.{{i}}", "blocks/bias", layer=i) for i in range(4)),
    Entry("conv", "conv", names.CONV3D),
    Entry("embedding", "embedding"),
    Entry("scalar", "scalar"),
)
shapes = {{"blocks/kernel": (4, 24, 40), "blocks/bias": (4, 6), "conv": (1, 3, 3, 8, 12), "embedding": (96, 20)}}
shapes["scalar"] = ()
abstract = functional.unflatten({{name: jax.ShapeDtypeStruct(shape, "float32") for name, shape in shapes.items()}})
source = reader.Safetensors(work / "model.safetensors.index.json")


def place(mesh, leaf):
    # Vectors of all layers by layer, matrices by row, the rest by its last axis.
    axes = [axis for axis, n in enumerate(leaf.shape) if n % mesh.shape["fsdp"] == 0] or [None]
    cut = axes[0] if len(leaf.shape) <= 2 else axes[-1]
    return NamedSharding(mesh, P(*["fsdp" if axis == cut else None for axis in range(len(leaf.shape))]))


def check(params, host, mesh):
    host = functional.flatten(host)
    for leaf, value in functional.flatten(params).items():
        assert value.dtype == host[leaf].dtype and value.sharding == place(mesh, host[leaf]), leaf
        assert value.is_fully_replicated == (value.ndim == 0), leaf
        for shard in value.addressable_shards:
            assert np.asarray(shard.data).tobytes() == host[leaf][shard.index].tobytes(), leaf


meshes = {{"two": ((2, 4), jax.devices()), "one": ((2, 2), jax.local_devices())}}
for word, (shape, devices) in meshes.items():
    mesh = jax.make_mesh(shape, ("data", "fsdp"), devices=devices, axis_types=(AxisType.Auto,) * 2)
    places = jax.tree.map(lambda leaf: place(mesh, leaf), abstract)
    for dtype in ("float32", None):
        params = names.import_params(table, abstract, source, dtype=dtype, shardings=places)
        check(params, names.import_params(table, abstract, source, dtype=dtype), mesh)
    exported = writer.Exported(table, params)
    if index:
        writer.read_along(exported, max_shard_bytes={LIMIT})
    else:
        writer.write_sharded(work / word, "model", exported, max_shard_bytes={LIMIT})
    part = folder.load(work / "base", "vae", None, lambda tree: jax.tree.map(lambda leaf: place(mesh, leaf), tree))
    check(part.params, folder.load(work / "base", "vae").params, mesh)
    folder.save(work / word, "vae", part.config, part.params)
    shapes = functional.abstract(ActAvatarDiT, PRESETS["tiny"].transformer)
    # Cut over processes too, so that a leaf comes to the host by an exchange, which all of them have to make alike.
    wide = jax.make_mesh((1, len(devices)), ("data", "fsdp"), devices=devices, axis_types=(AxisType.Auto,) * 2)
    places = functional.flatten(jax.tree.map(lambda leaf: place(wide, leaf), shapes))
    drawn = draw_leaves(functional.Network(ActAvatarDiT, PRESETS["tiny"].transformer), places, places=places)
    write_adapter(work / word / "adapter.safetensors", functional.unflatten(drawn), PRESETS["tiny"].transformer, step=1)

seen, mesh = [], jax.make_mesh((2, 4), ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)
rows = NamedSharding(mesh, P("data"))
arrays.assemble((8, 6), np.dtype(np.float32), rows, lambda out, index: (out.fill(0), seen.append(index[0].start)))
print(seen)
"""


def run(work):
    """The last line of each of two processes with four devices."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, work, str(index), str(port)],
            env=os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    outputs = [process.communicate(timeout=600) for process in started]
    for process, (_, errors) in zip(started, outputs, strict=True):
        assert process.returncode == 0, errors
    return [output.splitlines()[-1] for output, _ in outputs]  # the lines before are gloo's


@pytest.mark.slow
def test_sharded_load_and_save(tmp_path):
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
    tensors = {f"kernel.{i}": draw(40, 24).astype(ml_dtypes.bfloat16) for i in range(4)}
    tensors |= {f"bias.{i}": draw(6) for i in range(4)}
    tensors |= {"conv": draw(12, 8, 1, 3, 3), "embedding": draw(96, 20), "scalar": draw()}
    writer.write_sharded(tmp_path, "model", names.Arrays(tensors), max_shard_bytes=LIMIT)
    config = PatchCodecConfig(channels=4)
    codec = jax.tree.map(lambda leaf: draw(*leaf.shape), functional.abstract(PatchCodec, config))
    folder.save(tmp_path / "base", "vae", config, codec)

    assert run(tmp_path) == ["[0]", "[4]"]  # each process reads its own rows, and replicas are read once
    shards = sorted(tmp_path.glob("model*"))
    assert len(shards) == 4  # with the index
    for word in ("two", "one"):
        for want in shards:
            assert (tmp_path / word / want.name).read_bytes() == want.read_bytes(), want
        file = "vae/diffusion_pytorch_model.safetensors"
        assert (tmp_path / word / file).read_bytes() == (tmp_path / "base" / file).read_bytes()
    tiny = PRESETS["tiny"].transformer
    network = functional.Network(ActAvatarDiT, tiny)
    drawn = initial.draw_leaves(network, functional.flatten(functional.abstract(ActAvatarDiT, tiny)))
    write_adapter(tmp_path / "adapter.safetensors", functional.unflatten(drawn), tiny, step=1)
    for word in ("two", "one"):
        other = (tmp_path / word / "adapter.safetensors").read_bytes()
        assert other == (tmp_path / "adapter.safetensors").read_bytes()


@pytest.mark.slow
def test_large_initial_values_are_drawn_alone(monkeypatch):
    """A program's memory is bounded by its largest leaf; values, dtype and place are those of drawing all at once."""
    audio = AudioAdapterConfig(feature_layers=1, feature_width=8, hidden=8, tokens=2, token_width=128)
    config = DiTConfig(width=256, heads=2, head_dim=128, ffn=8, layers=4, text_dim=8, freq_dim=8, audio=audio)
    monkeypatch.setattr(arrays, "HOST_BYTES", 2**18)
    programs, drawing = {}, initial._drawing

    def watched(module, config, leaves, dtype, places):
        program = drawing(module, config, leaves, dtype, places).lower(jax.random.key(0)).compile()
        memory = program.memory_analysis()
        programs[leaves] = memory.output_size_in_bytes + memory.temp_size_in_bytes
        return program

    monkeypatch.setattr(initial, "_drawing", watched)
    mesh = jax.make_mesh((1,), ("fsdp",), axis_types=(jax.sharding.AxisType.Auto,))
    place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    shapes = functional.flatten(functional.abstract(ActAvatarDiT, config))
    wanted, _ = functional.split(shapes, dit.ADDED)
    network = functional.Network(ActAvatarDiT, config)
    got = initial.draw_leaves(network, wanted, dtype=ml_dtypes.bfloat16, places=dict.fromkeys(shapes, place))
    draw = jax.jit(functools.partial(functional.init, ActAvatarDiT, config), compiler_options=functional.RUN_ONCE)
    want, _ = functional.split(functional.flatten(draw(jax.random.key(0))), dit.ADDED)
    assert got.keys() == want.keys()
    for name, value in got.items():
        assert value.sharding == place
        np.testing.assert_array_equal(value, want[name].astype(ml_dtypes.bfloat16))
    large = {f"blocks/audio_attn/{name}/kernel" for name in ("query", "key_value", "out")}  # 1 MiB each
    assert {name for leaves in programs if len(leaves) == 1 for name in leaves} == large
    assert max(programs.values()) < 5 * 2**20  # bits, uniform and normal values of one leaf


@pytest.mark.parametrize("dtype", [None, "float32"])
def test_import_holds_the_model_and_slabs(tmp_path, monkeypatch, dtype):
    monkeypatch.setattr(arrays, "SLAB_BYTES", 2**18)
    rng = np.random.default_rng(0)
    tensors = {f"{i}": rng.integers(0, 2**14, (512, 750), np.uint16).view(ml_dtypes.bfloat16) for i in range(4)}
    tensors["wide"] = rng.integers(0, 2**14, (2250, 500), np.uint16).view(ml_dtypes.bfloat16)
    writer.write_sharded(tmp_path, "model", names.Arrays(tensors))
    table = (*(Entry(f"{i}", "stack", names.LINEAR, i) for i in range(4)), Entry("wide", "wide"))
    abstract = {"stack": jax.ShapeDtypeStruct((4, 750, 512), "float32")}
    abstract["wide"] = jax.ShapeDtypeStruct((2250, 500), "float32")
    source = reader.Safetensors(tmp_path / "model.safetensors")
    tracemalloc.start()
    params = names.import_params(table, abstract, source, dtype=dtype)
    size, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak - size < 3 * arrays.SLAB_BYTES
    want = np.stack([tensors[f"{i}"].T for i in range(4)])
    np.testing.assert_array_equal(params["stack"].astype(np.float32), want.astype(np.float32))
    np.testing.assert_array_equal(params["wide"].astype(np.float32), tensors["wide"].astype(np.float32))


def test_slabs_of_a_view_leave_the_process(monkeypatch):
    """Every slab is copied from a view of its own, so that a memory map of the whole tensor is never resident."""
    monkeypatch.setattr(arrays, "SLAB_BYTES", 240)
    source = np.arange(120, dtype=np.float32).reshape(10, 12)
    views = []
    out = np.empty((12, 10), np.float32)
    arrays.fill(out, lambda: views.append(1) or source.T)
    np.testing.assert_array_equal(out, source.T)
    assert len(views) == 1 + 2  # 480 bytes: one look at the shape, then two slabs of five rows


def test_shardings_of_another_model_are_refused():
    leaf = {"a": jax.ShapeDtypeStruct((2,), "float32")}
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    with pytest.raises(ValueError, match="shardings and model disagree about \\['a', 'b'\\]"):
        names.import_params((Entry("x", "a"),), leaf, names.Arrays({"x": np.ones(2)}), shardings={"b": place})
