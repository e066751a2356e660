"""Speed of single parts: `python launch/bench.py networks --only dit,umt5`, `... loader --records 64`,
`... avatarsync`, `... filters clips/ --models models/`, `... metrics models/`.

networks: ours and the PyTorch original take turns on the same weights and input; what is printed is a Markdown table.
loader: records at their real size, from disk to batches, in a process of its own; the last line is the summary.
avatarsync: time against the number of units, and beside the diffusion model.
filters: each measures prepared clips, from the file to its columns; what is printed is a Markdown table.
metrics: of a folder of videos, each in a process of its own; what is printed is a Markdown table.
"""

import contextlib
import dataclasses
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
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
def networks(
    only: Annotated[str | None, typer.Option(help="Parts, as in dit,training,umt5,vae,wav2vec2; default: all.")] = None,
    pairs: Annotated[int, typer.Option(help="How often both take their turn.", min=1)] = 5,
) -> None:
    """Every network against its PyTorch original on this CPU: same weights, same input, float32; umT5 in bf16 as well.

    Differences are the largest of a number, in parts of the largest number that PyTorch has. Use an idle machine.
    """
    import jax

    jax.config.update("jax_platforms", "cpu")  # accelerators of this machine are left alone
    with exit_on_wrong_input():
        try:
            from benchmarks.networks import PARTS, SIZES, check_parts, print_table
        except ImportError as error:
            raise InputError(
                f"Networks are measured beside those of torch, diffusers and transformers, of which one is missing "
                f"({error}); install actavatar-jax[test]."
            ) from error
        from actavatar_jax.heap import keep_memory_of_steps

        parts = list(PARTS) if only is None else only.split(",")
        check_parts(parts)
        keep_memory_of_steps()  # as trainings do
        print_table(SIZES, parts, pairs)


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
def avatarsync(
    model: Annotated[Path | None, typer.Option(help="Model folder of AvatarSync; default: the shipped one.")] = None,
    rival: Annotated[Path | None, typer.Option(help="Of ActAvatar's puppets; default: the shipped one.")] = None,
    counts: Annotated[str, typer.Option(help="Units of a clip.")] = "2,4,6,8,10,12,14,16,18,20",
    turns: Annotated[int, typer.Option(help="How often every way takes its turn.", min=1)] = 5,
) -> None:
    """Time of AvatarSync against the number of units, side by side and one by one, and beside the diffusion model.

    Compilation is not counted. The last lines are seconds for each second of video of one unseen presenter, by both
    systems in turn, from picture and sound to frames.
    """
    from benchmarks.avatarsync import compare, exponent, measure

    from actavatar_jax.avatarsync import AvatarSyncPipeline
    from actavatar_jax.pipeline import ActAvatarPipeline
    from actavatar_jax.puppets import demo
    from actavatar_jax.puppets.avatarsync import demo as heads

    with exit_on_wrong_input():
        numbers = [int(count) for count in counts.split(",") if count.isdigit()]
        if len(numbers) < 2 or min(numbers) < 1:
            raise InputError(f"The counts are {counts!r}; accepted are two or more numbers of units, as in 2,4,8.")
        pipeline = AvatarSyncPipeline.from_pretrained(model or heads.SHIPPED)
        print("| units | keyframes at once, s | one by one, s | 8 pairs at a time, s | pair by pair, s |")
        print("| --- | --- | --- | --- | --- |")
        rows = []
        for row in measure(pipeline, numbers, turns):
            rows.append(row)
            print(f"| {row.units} | " + " | ".join(f"{t:.3f}" for t in dataclasses.astuple(row)[1:]) + " |", flush=True)
        powers = ", ".join(f"{exponent(rows, field.name):.2f}" for field in dataclasses.fields(rows[0])[1:])
        print(f"\nGrows with the number of units to the power of {powers}.")
        place = rival or demo.SHIPPED
        theirs, world = ActAvatarPipeline.from_pretrained(place), demo.world_of(place)
        for name, seconds in compare(pipeline, theirs, world, turns).items():
            print(f"{name}: {seconds:.2f} s for a second of video")


@app.command()
def filters(
    clip_dir: Annotated[Path, typer.Argument(metavar="CLIPS", help="A folder that `actavatar prepare` made.")],
    models: Annotated[Path | None, typer.Option(help="Folder of models, as for `actavatar filter`.")] = None,
    steps: Annotated[str | None, typer.Option(help="Filters, as in faces,sync; default: all.")] = None,
    clips: Annotated[int, typer.Option(help="Clips that each filter measures.", min=1)] = 4,
    chip: Annotated[str, typer.Option(help="A GPU that is assumed.")] = "h100",
    share: Annotated[float, typer.Option(help="Of its float32 rate that networks reach: assumed.", min=0, max=1)] = 0.3,
) -> None:
    """Clips of 5 s that each filter measures per second and core, and core-hours for 500,000 of them; then the same
    with its networks on an assumed GPU.

    Time is that of the processor, over all threads, so that other work on the machine does not count. Each filter
    measures the first clip once before, uncounted: then its models are loaded and caches warm. `duplicates` makes the
    prints only, as groups are found at selection. What a GPU would take is not measured: products of convolutions and
    matrices are counted, and what lies between network and disk stays with the cores.
    """
    from benchmarks.filters import prepared_clips

    from actavatar_jax.models import Execution
    from actavatar_jax.planning.topology import parse
    from data_pipelines.filters import make_steps

    with exit_on_wrong_input():
        measures = make_steps(None if steps is None else steps.split(","), models)
        chosen, rate = prepared_clips(clip_dir, clips), share * parse(f"{chip}:1").chip.peak_of(Execution())
        names = "filter", "clips of 5 s per second and core", "core-hours for 500,000", "beside a GPU", f"{chip}-hours"
        print(f"| {' | '.join(names)} | model |")
        print("|" + " --- |" * 6)
        for step in measures:
            print(f"| {' | '.join(filter_row(step, chosen, clip_dir, rate))} |", flush=True)


def filter_row(step: "Step", clips: "Sequence[Clip]", clip_dir: Path, rate: float) -> list[str]:
    """Its name, speed and cost, "-" where it measures nothing without a model, and whether it has one.

    rate: FLOP/s of the GPU.
    """
    from benchmarks.filters import cost_of

    model = "none needed"
    if dataclasses.is_dataclass(step.measure):  # its fields are the model's files
        model = "yes" if any(dataclasses.astuple(step.measure)) else "no"
    cost = cost_of(step, clips, clip_dir)
    if cost is None:
        return [step.name, "-", "-", "-", "-", model]
    hours = [500_000 * seconds / 3600 for seconds in (cost.seconds, cost.seconds - cost.inside, cost.flops / rate)]
    return [step.name, f"{1 / cost.seconds:.3g}", *(f"{one:,.1f}" for one in hours), model]


@app.command()
def metrics(
    weights: Annotated[Path, typer.Argument(help="Folder of the published networks, or of random ones of their size.")],
    only: Annotated[str | None, typer.Option(help="Metrics, as in energy,sync; default: all but the judge.")] = None,
    clips: Annotated[int, typer.Option(help="Clips of each set that the table is for.", min=2)] = 200,
    measured: Annotated[int, typer.Option(help="Clips that are measured after a first one.", min=1)] = 1,
    side: Annotated[int, typer.Option(help="Pixels along each side of their pictures.", min=64)] = 512,
    frames: Annotated[int, typer.Option(help="Of each clip, at 25 a second.", min=1)] = 125,
) -> None:
    """Processor time and peak memory that each metric of a folder of videos takes, on drawn films with sound.

    Time is that of all threads, so that other work on the machine does not count, and grows with the clips; what is
    done once with the features of two whole sets (distances, and the draws of their intervals) is measured on as many.
    """
    from benchmarks.metrics import MEASURED, measure_metrics

    from actavatar_jax.evaluation.bench import parse_names
    from actavatar_jax.puppets import demo
    from actavatar_jax.puppets.bench import write_puppet_bench
    from actavatar_jax.puppets.world.clips import World

    with exit_on_wrong_input(), tempfile.TemporaryDirectory() as folder:
        names = MEASURED if only is None else parse_names(only)
        write_puppet_bench(folder, demo.UNSEEN[: 1 + measured], World(side=side, frames=frames))
        print(f"| metric | s for a clip | s for both sets | hours for {clips} clips | peak memory, GiB |")
        print("| --- | --- | --- | --- | --- |")
        for cost in measure_metrics(names, Path(folder), weights, clips, peak_memory):
            hours = (clips * cost.clip + cost.once) / 3600
            cells = (cost.name, f"{cost.clip:.3g}", f"{cost.once:.3g}", f"{hours:.3g}", f"{cost.peak / 2**30:.2f}")
            print(f"| {' | '.join(cells)} |", flush=True)


@contextlib.contextmanager
def exit_on_wrong_input() -> Iterator[None]:
    """One sentence and exit code 2 for wrong input."""
    try:
        yield
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    app()
