"""Speed of single parts: `python launch/bench.py dit --tokens 7040 --against diffusers`, `... loader --records 64`,
`... filters clips/ --models models/`.

dit: the peer and ours take turns on the same weights and input, and the last line is the median of the pairwise ratios.
loader: records at their real size, from disk to batches, in a process of its own; the last line is the summary.
filters: each measures prepared clips, from the file to its columns; what is printed is a Markdown table.
"""

import dataclasses
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from actavatar_jax.errors import InputError

if TYPE_CHECKING:
    from data_pipelines.table import Clip, Step

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def group() -> None:
    """Benchmarks."""


@app.command()
def dit(
    tokens: Annotated[int, typer.Option(help="Video tokens, a multiple of 440 (grids of T x 20 x 22).")] = 7040,
    against: Annotated[str, typer.Option(help="The peer: diffusers.")] = "diffusers",
    pairs: int = 5,
    layers: int = 4,
    heads: int = 8,
    head_dim: int = 64,
    attention: str = "auto",
) -> None:
    """One forward of the transformer, fp32, same weights: jitted ours against diffusers' WanTransformer3DModel."""
    import jax
    import torch
    from diffusers import WanTransformer3DModel

    from actavatar_jax import functional
    from actavatar_jax.models import Execution
    from actavatar_jax.models.avatar import ActAvatarDiT, AudioAdapterConfig, DiTConfig
    from actavatar_jax.weights import names
    from actavatar_jax.weights.tables import dit as tables

    if against != "diffusers" or tokens % 440:
        raise typer.BadParameter("--against takes diffusers, --tokens a multiple of 440.")
    width, frames, height, columns = heads * head_dim, tokens // 440, 40, 44
    torch.manual_seed(0)
    peer = WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=heads, attention_head_dim=head_dim, in_channels=48, out_channels=48,
        text_dim=256, freq_dim=256, ffn_dim=4 * width, num_layers=layers, qk_norm="rms_norm_across_heads",
    ).eval()  # fmt: skip
    config = DiTConfig(
        width=width,
        heads=heads,
        head_dim=head_dim,
        ffn=4 * width,
        layers=layers,
        text_dim=256,
        audio=AudioAdapterConfig(feature_layers=2, feature_width=64, hidden=64, tokens=32, token_width=64),
    )
    execution = Execution(attention=attention)
    params = functional.init(ActAvatarDiT, config, jax.random.key(0))  # the adapter stays at its identity
    source = names.Arrays({name: value.detach().numpy() for name, value in peer.state_dict().items()})
    params = names.import_params(
        tables.diffusers(config),
        functional.abstract(ActAvatarDiT, config),
        source,
        initial=params,
        may_miss=tables.ADDED,
    )
    params = jax.device_put(params)

    rng = np.random.default_rng(0)
    latents = rng.standard_normal((1, frames, height, columns, 48)).astype(np.float32)
    text = rng.standard_normal((1, 512, 256)).astype(np.float32)
    audio = np.zeros((1, 4 * frames - 3, 2, 64), np.float32)
    grid = (frames, height, columns)
    times = np.concatenate([[0], np.full(frames - 1, 700)])[None].astype(np.float32)

    @jax.jit
    def prepare(params):
        model = functional.bind(ActAvatarDiT, config, params, execution)
        ids = np.zeros((1, 512), np.int32)
        return model.cache(model.condition(text, ids, np.zeros((1, 8, 2), np.float32), audio, grid))

    @jax.jit
    def forward(params, conditions):
        return functional.bind(ActAvatarDiT, config, params, execution)(latents, times, conditions)

    conditions = prepare(params)
    theirs = {
        "hidden_states": torch.from_numpy(latents).permute(0, 4, 1, 2, 3).contiguous(),
        "timestep": torch.from_numpy(np.repeat(times, tokens // frames, axis=1)),
        "encoder_hidden_states": torch.from_numpy(text),
    }

    def run_theirs():
        with torch.no_grad():
            return peer(**theirs).sample

    ours = np.asarray(forward(params, conditions))
    difference = np.abs(ours - run_theirs().permute(0, 2, 3, 4, 1).numpy()).max() / np.abs(ours).max()
    print(f"{tokens} tokens, {layers} blocks, {heads} heads of {head_dim}, fp32, relative difference {difference:.1e}")
    pair(lambda: forward(params, conditions).block_until_ready(), run_theirs, pairs)


@app.command()
def loader(
    records: Annotated[int, typer.Option(help="Records to write, 14.4 MB each.", min=1)] = 64,
    batch: Annotated[int, typer.Option(help="Records in a batch.", min=1)] = 2,
    passes: Annotated[
        int, typer.Option(help="How often all records are read; the first pass may wait for the disk.")
    ] = 3,
    folder: Annotated[
        Path | None, typer.Option(help="Where to write them for the time; default: temporary files.")
    ] = None,
) -> None:
    """Records and bytes per second, processor time and peak memory of `make_loader` at 704x1280x125."""
    with tempfile.TemporaryDirectory(dir=folder) as shard_dir:
        size = write_records(Path(shard_dir) / "704x1280x125", records)
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:  # its peak memory is the reading's alone
            rates = [pool.submit(read_pass, shard_dir, batch, records, number).result() for number in range(passes)]
            idle, peak = rates[0].before, pool.submit(peak_memory).result()
    for number, rate in enumerate(rates, start=1):
        each = 1000 * rate.cpu / rate.records
        print(f"pass {number}: {rate.records / rate.seconds:.1f} records/s, {each:.1f} ms of processor time each")
    speed = statistics.median(rate.records / rate.seconds for rate in rates)
    print(
        f"{speed:.1f} records/s (median of {passes} passes), {speed * size / records / 1e6:.0f} MB/s, "
        f"{size / records / 1e6:.1f} MB per record, batches of {batch}, "
        f"peak host memory {peak / 2**30:.2f} GiB ({idle / 2**30:.2f} GiB of it before reading)"
    )


def write_records(folder: Path, count: int) -> int:
    """Writes a dataset of `count` random records with 160 text tokens each; its size in bytes."""
    from data_pipelines.loading import SyntheticSource
    from data_pipelines.shards import (
        BFLOAT16,
        LATENT_LAYOUT,
        SCHEMA_VERSION,
        Bucket,
        Record,
        list_shards,
        serialize_record,
        write_dataset,
    )

    source = SyntheticSource(Bucket(704, 1280, 125))
    rng = np.random.default_rng(0)

    def record(index: int) -> Record:
        embeds = rng.standard_normal((160, source.text_dim), np.float32).astype(BFLOAT16)
        text = {
            "text_tokens": np.arange(160, dtype=np.int32),
            "phase_ids": np.zeros(160, np.int8),
            "text_embeds": embeds,
        }
        return source[index] | text

    metadata = {
        "schema": SCHEMA_VERSION,
        "layout": LATENT_LAYOUT,
        "fps": 25,
        "encoders": {},
        "latent_shape": list(source[0]["latents"].shape),
        "empty_prompt": source.empty_prompt().to_dict(),
    }
    folder.mkdir(parents=True)
    write_dataset(folder, (serialize_record(record(i)) for i in range(count)), count, 128, metadata)
    return sum(path.stat().st_size for path in list_shards(folder))


@dataclasses.dataclass(frozen=True)
class Rate:
    records: int
    seconds: float
    cpu: float  # processor seconds, of all threads
    before: int  # bytes of memory at the peak before the pass


def read_pass(shard_dir: str, batch: int, records: int, seed: int) -> Rate:
    """Reads as many batches as hold all records once, after one that is not counted."""
    from data_pipelines.loading import make_loader

    before, count = peak_memory(), -(-records // batch)
    batches = iter(make_loader(shard_dir, batch_size=batch, seed=seed))
    next(batches)
    start, cpu = time.perf_counter(), time.process_time()
    for _ in itertools.islice(batches, count):
        pass
    return Rate(count * batch, time.perf_counter() - start, time.process_time() - cpu, before)


def peak_memory() -> int:
    """The largest number of bytes that this process had in memory (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


@app.command()
def filters(
    clip_dir: Annotated[Path, typer.Argument(metavar="CLIPS", help="A folder that `actavatar prepare` made.")],
    models: Annotated[Path | None, typer.Option(help="Folder of ONNX models, as for `actavatar filter`.")] = None,
    steps: Annotated[str | None, typer.Option(help="Filters, as in faces,sync; default: all.")] = None,
    clips: Annotated[int, typer.Option(help="Clips that each filter measures.", min=1)] = 4,
) -> None:
    """Clips of 5 s that each filter measures per second and core, and core-hours for 500,000 of them.

    Time is that of the processor, over all threads, so that other work on the machine does not count. Each filter
    measures the first clip once before, uncounted: then its models are loaded and caches warm. `duplicates` makes the
    prints only, as groups are found at selection.
    """
    from data_pipelines.filters import make_steps

    try:
        measures = make_steps(None if steps is None else steps.split(","), models)
        chosen = prepared_clips(clip_dir, clips)
        print("| filter | clips of 5 s per second and core | core-hours for 500,000 | model |")
        print("| --- | --- | --- | --- |")
        for step in measures:
            print(f"| {' | '.join(filter_row(step, chosen, clip_dir))} |", flush=True)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def prepared_clips(clip_dir: Path, count: int) -> "list[Clip]":
    """The first clips of a prepared folder. Raises InputError where there are fewer."""
    from data_pipelines.table import clip_path, read_manifest

    prepared = (clip for clip in read_manifest(clip_dir) if clip_path(clip, clip_dir).is_file())
    clips = list(itertools.islice(prepared, count))
    if len(clips) < count:
        raise InputError(f"{clip_dir}: --clips {count}, but {len(clips)} clips are prepared there")
    return clips


def filter_row(step: "Step", clips: "Sequence[Clip]", clip_dir: Path) -> list[str]:
    """Its name, speed and cost, "-" where it measures nothing without a model, and whether it has one."""
    from actavatar_jax.media import probe
    from data_pipelines.table import clip_path

    model = "none needed"
    if dataclasses.is_dataclass(step.measure):  # its fields are the model's files
        model = "yes" if any(dataclasses.astuple(step.measure)) else "no"
    if measured(step, clips[0], clip_dir) == {"available": False}:
        return [step.name, "-", "-", model]
    start = time.process_time()
    for clip in clips:
        measured(step, clip, clip_dir)
    cost = (time.process_time() - start) / sum(probe(clip_path(clip, clip_dir)).duration for clip in clips)
    return [step.name, f"{1 / (5 * cost):.3g}", f"{500_000 * 5 * cost / 3600:,.1f}", model]


def measured(step: "Step", clip: "Clip", clip_dir: Path) -> dict:
    """The clip's columns. Raises InputError where there are none, as the time for it would be no measure."""
    from data_pipelines.table import Skip

    try:
        return step.measure(clip, clip_dir)
    except Skip as skip:
        raise InputError(f"{step.name} skips the clip {clip.id}: {skip.detail or skip.reason}") from skip


def pair(ours: Callable, theirs: Callable, pairs: int) -> None:
    """Times the two in turn and prints the ratio."""
    ratios = []
    for number in range(pairs):
        a, b = seconds(ours), seconds(theirs)
        ratios.append(a / b)
        print(f"pair {number + 1}: ours {a:.2f} s, theirs {b:.2f} s")
    print(f"ratio ours/theirs: {statistics.median(ratios):.2f} (median of {pairs} pairs)")


def seconds(run: Callable) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    app()
