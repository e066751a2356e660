"""Many synthetic clips through a step, some of which crash their process, hang, raise what nobody expects or are odd.

Fails unless each of them is accounted for. Prints clips a second, and how much memory they took here beside the table:
python -m tests.data.table.odd_clips 100000 [--workers 1]
"""

import argparse
import os
import resource
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from actavatar_jax.errors import InputError
from data_pipelines.table import Clip, Skip, Step, StepReport, Table, run_step
from tests.data.table.trivial_step import constant_state

TIMEOUT = 1.0  # seconds


def measure(clip: Clip, clip_dir: Path) -> dict[str, Any]:
    kind = kind_of(int(clip.id[1:]))
    if kind == "skipped: crashed":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "skipped: timed out":
        time.sleep(3600)
    if kind == "skipped: unexpected error":
        raise ZeroDivisionError("a bug")
    if kind == "skipped: unlucky":
        raise Skip("unlucky")
    if kind == "skipped: unreadable":
        raise InputError(f"Video {clip.source} is damaged.")
    return {"third": int(clip.id[1:]) / 3, "profile": [0.1, 0.2, 0.3]}


def kind_of(number: int) -> str:
    """What becomes of the clip of this number."""
    kinds = {
        "crashed": number % 20_000 == 500,
        "timed out": number % 20_000 == 700,
        "unexpected error": number % 2_000 == 3,
        "odd row": number % 100 == 5,
        "unlucky": number % 100 == 6,
        "unreadable": number % 100 == 7,
    }
    return next((f"skipped: {kind}" for kind, holds in kinds.items() if holds), "made")


ODD = Step("odd", measure, state=constant_state)


def odd_table(count: int) -> Table:
    odd = (kind_of(number) == "skipped: odd row" for number in range(count))
    return Table.from_clips(
        Clip(f"c{number:06d}", "synthetic", f"{number}.mp4", None if none else 0.0) for number, none in enumerate(odd)
    )


def run(count: int, clip_dir: Path, workers: int) -> None:
    """Has all clips measured. Fails unless the report and the columns say of each what has become of it."""
    report = StepReport("")
    table = run_step(ODD, odd_table(count), clip_dir, workers=workers, timeout=TIMEOUT, report=report, progress=False)
    assert report.counts() == dict(sorted(Counter(map(kind_of, range(count))).items())), report.counts()
    errors = dict(zip(table.column("id"), table.column("odd.error"), strict=True))
    for number in range(count):
        assert f"skipped: {errors[f'c{number:06d}']}" == kind_of(number).replace("made", "skipped: None"), number


def main(count: int, workers: int) -> None:
    run(1000, Path(tempfile.mkdtemp()), workers)  # what is imported on the way is none of the clips'
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run(count, Path(folder), workers)
    taken, seconds = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, time.perf_counter() - start
    print(f"{count} clips in {seconds:.0f} s, {count / seconds:.0f} a second, {taken / 1024:.0f} MiB more at the most")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("count", type=int)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    main(arguments.count, arguments.workers)
