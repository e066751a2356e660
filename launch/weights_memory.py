"""Memory and time of large weights: `python launch/weights_memory.py measure runs/weights --size full`.

Random weights in the layout of a Wan2.2-TI2V-5B folder are loaded, loaded into sharded arrays and saved again, and
converted to the original layout and back, each in a process of its own. Full size needs 50 GB of disk for a while.
`start` begins trainings with such a transformer, in one process and in many, and ends them before their first step.
Exit code 1: a process took more memory than allowed, or a tensor came back with other bytes.
"""

import dataclasses
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

COMPONENTS = {"transformer": "bfloat16", "text_encoder": "bfloat16", "vae": "float32"}
DEVICES = 8  # forced on this CPU for the sharded part
ALLOWED = 2 * 2**30  # bytes beside the model's own
PIECE = 2**24
ROOT = Path(__file__).resolve().parents[1]
# A frozen transformer in bfloat16, and little else.
TRAINING = {"steps": "0", "lora.rank": 4, "data.source": "synthetic", "data.bucket": "(64,64,9)", "data.dirs": "()"}

NewFolder = Annotated[Path, typer.Argument(help="A new folder to work in; it is deleted at the end.")]


class Size(StrEnum):
    """full: Wan2.2-TI2V-5B, 24 GB. small: the same networks in 1 GB. tiny: a trial."""

    full = "full"
    small = "small"
    tiny = "tiny"


@app.command()
def measure(
    folder: NewFolder,
    size: Annotated[Size, typer.Option(help="full (24 GB), small (1 GB) or tiny.")] = Size.small,
) -> None:
    """Writes the weights, runs every step and prints one line for each."""
    _refuse_old(folder)
    base, out = folder / "base", folder / "out"
    failed = False
    try:
        _run("write", base, size.value)
        want = {component: _digests(base, component) for component in COMPONENTS}
        for component in COMPONENTS:
            failed |= _report(f"load {component}", *_run("load", base, component))
            failed |= _report(f"shard and save {component}", *_run("shard", base, component, out, devices=DEVICES))
            failed |= _differ(want[component], _digests(out, component))
            shutil.rmtree(out)
        failed |= _report("convert to wan", *_run("to-wan", base, folder / "wan"))
        shutil.rmtree(base)
        failed |= _report("convert to diffusers", *_run("to-diffusers", folder / "wan", out))
        for component in COMPONENTS:
            failed |= _differ(want[component], _digests(out, component))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    raise typer.Exit(int(failed))


@app.command()
def start(
    folder: NewFolder,
    size: Annotated[Size, typer.Option(help="full (11 GB), small (0.5 GB) or tiny.")] = Size.small,
    processes: Annotated[list[int], typer.Option(min=1, help="Of a training; given twice, of two.")] = [1, 8],  # noqa: B006
) -> None:
    """What each process of a LoRA training has in memory when it has opened the transformer, which is frozen.

    Devices of a CPU are the host's memory: the weights are counted there, and what is beside them is the host's share.
    """
    _refuse_old(folder)
    failed = False
    try:
        _run("write", folder / "base", size.value, "transformer")
        model = _size(folder / "base", "transformer")
        for count in processes:
            began = time.perf_counter()
            peaks = _train(folder / "base", folder / f"run-{count}", count)
            name = f"start training in {count} process{'es' * (count > 1)}, the largest"
            failed |= _report(name, model // count, max(peaks), time.perf_counter() - began)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    raise typer.Exit(int(failed))


def _refuse_old(folder: Path) -> None:
    if folder.exists():
        raise typer.BadParameter(f"{folder} is there already; name a new folder.")


def _size(folder: Path, component: str) -> int:
    """Bytes of a component's parameters with those that the folder lacks."""
    from actavatar_jax.weights import find
    from actavatar_jax.weights.residence import size_of

    part = find(folder, component)
    return size_of(part.kind, part.config, COMPONENTS[component])


def _train(base: Path, workdir: Path, count: int) -> list[int]:
    """Peak resident bytes of the processes of a training of no steps, each with one device."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        address = f"localhost:{probe.getsockname()[1]}"
    settings = TRAINING | {"model.folder": base, "mesh": f"1,{count},1", "data.batch_size": count}
    command = [sys.executable, ROOT / "launch" / "train.py", f"--config={ROOT / 'configs' / 'stage2.py'}"]
    command += [f"--workdir={workdir}", *(f"--config.{name}={value}" for name, value in settings.items())]
    command += ["--distributed"] * (count > 1)
    shared = {"JAX_PLATFORMS": "cpu", "JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": str(count)}
    started = [
        subprocess.Popen([*map(str, command)], env=os.environ | shared | {"JAX_PROCESS_ID": str(process)}, cwd=ROOT)
        for process in range(count)
    ]
    peaks = []
    for process in started:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        peaks.append(usage.ru_maxrss * 1024)
    if any(process.returncode for process in started):
        raise SystemExit(f"The training in {count} processes failed.")
    return peaks


def _run(step: str, *arguments: object, devices: int = 1) -> tuple[int, int, float]:
    """Bytes of the model that a step holds (its last line), its peak resident bytes, and seconds."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, __file__, step, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
    )
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"The step {step} failed with code {process.returncode}.")
    return int(output.split()[-1]), usage.ru_maxrss * 1024, time.perf_counter() - start


def _report(step: str, model: int, peak: int, seconds: float) -> bool:
    gib = 2.0**30
    over = peak - model > ALLOWED
    text = f"{step}: holds {model / gib:.2f} GiB, peak {peak / gib:.2f} GiB, {(peak - model) / gib:.2f} GiB beside it"
    print(f"{text} (allowed {ALLOWED / gib:.0f}), {seconds:.0f} s{', TOO MUCH' * over}", flush=True)
    return over


def _digests(folder: Path, component: str) -> dict[str, str]:
    from actavatar_jax.weights import find

    source = find(folder, component).files
    digests = {}
    for name in source.names():
        digest = hashlib.sha256(f"{source.dtype(name)} {source.shape(name)}".encode())
        for piece in source.pieces(name):
            digest.update(piece.view(np.uint8).data)
        digests[name] = digest.hexdigest()
    return digests


def _differ(want: dict[str, str], got: dict[str, str]) -> bool:
    """Whether a tensor is missing or has other bytes; the adapter's initial values may stand beside them."""
    wrong = [name for name in want if got.get(name) != want[name]]
    print(f"  {len(want) - len(wrong)} of {len(want)} tensors came back bitwise", *wrong[:3], flush=True)
    return bool(wrong)


@app.command(hidden=True)
def write(folder: Path, size: Size, only: str | None = typer.Argument(None)) -> None:
    from actavatar_jax import functional
    from actavatar_jax.models import UMT5Config, presets
    from actavatar_jax.models.avatar import DiTConfig
    from actavatar_jax.models.wan_vae.vae import VAEConfig
    from actavatar_jax.storage import write_json
    from actavatar_jax.weights import kind_of, write_sharded

    preset = presets.PRESETS["wan22_ti2v_5b"]
    if size == Size.tiny:
        preset = presets.PRESETS["tiny"]
    if size == Size.small:
        preset = dataclasses.replace(
            preset,
            transformer=DiTConfig(width=1024, heads=8, head_dim=128, ffn=4096, layers=12, text_dim=512),
            text_encoder=UMT5Config(width=512, heads=8, head_dim=64, ffn=1280, layers=4),
            vae=VAEConfig(encoder_base=40, decoder_base=64),
        )
    for component, dtype in COMPONENTS.items():
        if only not in (None, component):
            continue
        config = getattr(preset, component)
        kind = kind_of(component, config)
        noise = Noise(kind.table(config), functional.abstract(kind.module, config), kind.may_miss, np.dtype(dtype))
        write_sharded(folder / component, kind.stem, noise)
        write_json(folder / component / "config.json", kind.to_json(config))
    print(0)


class Noise:
    """Random finite numbers under the names of a table, without the leaves that a plain folder lacks."""

    def __init__(self, table: tuple, abstract: dict, left_out: str, dtype: np.dtype):
        import re

        from actavatar_jax import functional
        from actavatar_jax.weights import their_shape

        flat = functional.flatten(abstract)
        kept = [entry for entry in table if not re.fullmatch(left_out, entry.ours)]
        self._shapes = {entry.theirs: their_shape(entry, flat[entry.ours].shape) for entry in kept}
        self._dtype = dtype

    def names(self) -> list[str]:
        return list(self._shapes)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name]

    def dtype(self, name: str) -> np.dtype:
        return self._dtype

    def pieces(self, name: str) -> Iterator[np.ndarray]:
        bits = np.dtype(f"u{self._dtype.itemsize}")
        finite = ~(bits.type(1) << bits.type(8 * bits.itemsize - 2))  # without the exponent's first bit: below 2
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        left = int(np.prod(self._shapes[name]))
        while left:
            count = min(left, PIECE // bits.itemsize)
            left -= count
            yield (np.frombuffer(rng.bytes(count * bits.itemsize), bits) & finite).view(self._dtype)


@app.command(hidden=True)
def load(folder: Path, component: str) -> None:
    import jax

    from actavatar_jax.weights import folder as folders

    part = folders.load(folder, component, dtype=COMPONENTS[component])
    print(sum(leaf.nbytes for leaf in jax.tree.leaves(part.params)))


@app.command(hidden=True)
def shard(folder: Path, component: str, out: Path) -> None:
    import jax

    from actavatar_jax.weights import folder as folders

    mesh = jax.make_mesh((DEVICES,), ("fsdp",), axis_types=(jax.sharding.AxisType.Auto,))

    def place(leaf: jax.ShapeDtypeStruct) -> jax.sharding.NamedSharding:
        """The longest axis that the devices divide, and of a small leaf none."""
        axes = [axis for axis, n in enumerate(leaf.shape) if n % DEVICES == 0 and leaf.size > 2**16]
        cut = max(axes, key=lambda axis: leaf.shape[axis], default=None)
        spec = ["fsdp" if axis == cut else None for axis in range(len(leaf.shape))]
        return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*spec))

    part = folders.load(folder, component, COMPONENTS[component], lambda abstract: jax.tree.map(place, abstract))
    folders.save(out, component, part.config, part.params)
    shards = [shard.data.nbytes for leaf in jax.tree.leaves(part.params) for shard in leaf.addressable_shards]
    print(sum(shards))


@app.command(hidden=True)
def to_wan(folder: Path, out: Path) -> None:
    from actavatar_jax.weights import to_torch

    to_torch(folder, out, layout="wan")
    print(0)


@app.command(hidden=True)
def to_diffusers(folder: Path, out: Path) -> None:
    from actavatar_jax.weights import from_torch

    from_torch(folder, out)
    print(0)


if __name__ == "__main__":
    app()
