"""Several machines share the chain over one store, killed by SIGKILL at random moments and replaced by empty ones.

Tables and shards must be those of one undisturbed run on a disk, and no clip is made more often than it was killed.
Runs as its own process, which forks for every machine: python -m tests.data.stores.machines WORK_DIR [--machines 2]
[--kills 4] [--seed 0].
"""

import argparse
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

from data_pipelines.clips import make, prepare_clips
from data_pipelines.corpora import read_corpus
from data_pipelines.filters import filter_clips
from data_pipelines.selection import select_clips
from data_pipelines.shards import encode_clips, slice_encoder
from data_pipelines.table import steps
from tests.data.fakes import FakeEncoders, write_clip
from tests.data.stores.chain import QUIET, files_of, logged, table_of
from tests.data.stores.shelf import put_up

CLIPS = 8
RULES = 'rules:\n  - {column: probe.seconds, test: ">=", value: 0.1, kind: hard, reason: short}\n'
ENCODING = {"stage": 1, "frames": 9, "buckets": "32x64", "records_per_shard": 2}


def main(work_dir: Path, machines: int, kills: int, seed: int) -> None:
    for number in range(CLIPS):
        write_clip(work_dir / "videos" / f"{number:02d}.mp4", frames=20 + number, seed=number)
    (work_dir / "rules.yaml").write_text(RULES)
    os.environ |= {"SHELF": str(work_dir / "shelf"), "ACTAVATAR_SCRATCH": str(work_dir / "scratch")}
    (work_dir / "shelf").mkdir()
    videos = put_up(work_dir / "videos", "videos")
    steps.PUT_UP = slice_encoder.PUT_UP = 0.0  # a row is lost with the moment, not with twenty seconds
    local, rng, killed = str(work_dir / "run"), random.Random(seed), 0
    for work in chain(work_dir / "videos", local, work_dir / "rules.yaml"):
        for index in range(machines):
            work((index, machines))
    make.write_video = logged(make.write_video, work_dir / "log")
    for work in chain(videos, "shelf://run", work_dir / "rules.yaml"):
        left, share = set(range(machines)), -(-kills // 5)
        while left:
            begun = {start(work_dir, work, (index, machines)): index for index in sorted(left)}
            for child in begun:
                if share and rng.random() < 0.7:
                    time.sleep(rng.uniform(0.02, 0.4))
                    os.kill(child, signal.SIGKILL)
            codes = {index: os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child, index in begun.items()}
            assert set(codes.values()) <= {0, -signal.SIGKILL}, codes
            left = {index for index, code in codes.items() if code}
            killed, share = killed + len(left), max(share - len(left), 0)
    assert table_of("shelf://run") == table_of(local)
    assert files_of("shelf://run") == files_of(local)
    made = (work_dir / "log").read_text().split()
    assert CLIPS <= len(made) <= CLIPS + killed, f"{len(made)} clips made, {killed} kills"
    print(f"{killed} kills, {len(made)} clips made for {CLIPS}: the tables and shards of one run on a disk")


def chain(videos: str | Path, folder: str, rules: Path) -> list[Callable]:
    """Each step, to be done by every machine for its part; what is not shared is done by the first."""
    clips = f"{folder}/clips"
    settings = {"min_frames": 10, "min_side": 32, **QUIET}
    return [
        lambda process: read_corpus("folder", videos, f"{folder}/corpus.parquet", process),
        lambda process: prepare_clips(f"{folder}/corpus.parquet", clips, process=process, **settings),
        lambda process: filter_clips(clips, ["probe"], workers=0, process=process, **QUIET),
        lambda process: process[0] or select_clips(clips, 1, rules),
        lambda process: encode_clips(clips, f"{folder}/shards", FakeEncoders(), process=process, **ENCODING, **QUIET),
    ]


def start(work_dir: Path, work: Callable, process: tuple[int, int]) -> int:
    """A machine that has nothing yet, and does its part; the number of its process."""
    child = os.fork()
    if child == 0:
        os.environ["ACTAVATAR_SCRATCH"] = str(work_dir / f"machine-{os.getpid()}")
        work(process)
        os._exit(0)
    return child


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("work_dir", type=Path)
    parser.add_argument("--machines", type=int, default=2)
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    main(arguments.work_dir, arguments.machines, arguments.kills, arguments.seed)
