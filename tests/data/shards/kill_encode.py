"""Encodes a clip folder again and again, killed by SIGKILL before its first, second, third ... step that changes files.

After each kill the encoding is repeated undisturbed; its files must equal those of a run that was never killed, and no
clip that was finished is encoded again. Runs as its own process, which forks for every attempt:
python -m tests.data.shards.kill_encode CLIP_DIR WORK_DIR fresh|grown|shared. Prints how many kills.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

from data_pipelines.shards import array_records, encode_clips
from data_pipelines.table import Table, read_manifest
from tests.data.fakes import FakeEncoders
from tests.data.forks import in_child, tree

SETTINGS = {"frames": 9, "buckets": "32x64,64x32", "records_per_shard": 2, "progress": False}


def main(clip_dir: Path, work_dir: Path, scenario: str) -> int:
    start = work_dir / "start"
    start.mkdir(parents=True)
    if scenario == "grown":  # an earlier run finished, then clips were added
        part = work_dir / "part"
        shutil.copytree(clip_dir, part)
        Table(read_manifest(part).data.slice(0, 1)).write(part / "manifest.parquet")
        assert in_child(lambda: run(part, start)) == 0
    whole = work_dir / "whole"
    shutil.copytree(start, whole)
    work = share if scenario == "shared" else run
    assert in_child(lambda: work(clip_dir, whole)) == 0
    wanted = tree(whole)
    for step in range(1000):
        attempt = work_dir / "attempt"
        shutil.rmtree(attempt, ignore_errors=True)
        shutil.copytree(start, attempt)

        def killed(step=step, attempt=attempt):
            kill_before(step)
            work(clip_dir, attempt)

        if in_child(killed) == 0:
            assert tree(attempt) == wanted
            return step
        finished = encoded(attempt)
        assert in_child(lambda attempt=attempt: work(clip_dir, attempt)) == 0
        if scenario == "shared":  # a slice of which the rest had been committed has left what it did for another commit
            shutil.rmtree(attempt / ".staged", ignore_errors=True)
        else:
            assert json.loads((attempt / "report.json").read_text())["counts"].get("kept", 0) == len(finished)
        assert tree(attempt) == wanted, (
            f"killed before step {step}: {sorted(tree(attempt))} differ from {sorted(wanted)}"
        )
    raise AssertionError("the encoding never came to its end")


def run(clip_dir: Path, shard_dir: Path) -> None:
    encode_clips(clip_dir, shard_dir, FakeEncoders(), **SETTINGS)
    assert "tensorflow" not in sys.modules


def share(clip_dir: Path, shard_dir: Path) -> None:
    for index in range(2):
        encode_clips(clip_dir, shard_dir, FakeEncoders(), process=(index, 2), **SETTINGS)


def encoded(shard_dir: Path) -> set[str]:
    """Clips whose records lie finished in any place."""
    staged = {path.name.rsplit("-", 1)[0] for path in shard_dir.glob(".staged/*/[!.]*.array_record")}
    indexes = [path for path in shard_dir.glob("*/index.json") if not path.parent.name.endswith(".partial")]
    indexes += shard_dir.glob(".staged/*/packed/[!.]*.json")
    return staged | {row["clip"] for path in indexes for row in json.loads(path.read_text())}


def kill_before(step: int) -> None:
    """Arms the functions that change files: the call number `step` kills the process instead."""
    left = [step]

    def armed(function):
        def call(*args, **kwargs):
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return function(*args, **kwargs)

        return call

    class Writer(array_records.ArrayRecordWriter):
        write = armed(array_records.ArrayRecordWriter.write)
        close = armed(array_records.ArrayRecordWriter.close)

    array_records.ArrayRecordWriter = Writer
    os.replace = armed(os.replace)
    os.unlink = armed(os.unlink)
    Path.rename = armed(Path.rename)
    Path.write_text = armed(Path.write_text)
    shutil.rmtree = armed(shutil.rmtree)


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
