"""Prepares, filters, selects and encodes, killed by SIGKILL at random moments and started again until all is through.

The shards must equal, byte for byte, those of a chain that was never killed, and no more is done twice than what a kill
found unfinished. Runs as its own process, which forks for every start:
python -m tests.data.kill_chain WORK_DIR [--kills 10] [--seed 0].
"""

import argparse
import os
import random
import shutil
import signal
import time
from pathlib import Path

from data_pipelines.clips import make, prepare_clips
from data_pipelines.filters import filter_clips
from data_pipelines.selection import select_clips
from data_pipelines.shards import encode_clips
from tests.data.fakes import FakeEncoders, write_clip

CLIPS = 12
FILTERS = ["probe", "voice", "duplicates", "shots"]
RULES = 'rules:\n  - {column: probe.seconds, test: ">=", value: 1, kind: hard, reason: short}\n'


def main(work_dir: Path, kills: int, seed: int) -> None:
    rng, folder = random.Random(seed), work_dir / "killed"
    for number in range(CLIPS):
        write_clip(work_dir / "videos" / f"{number:02d}.mp4", frames=20 + number, seed=number)
    (work_dir / "rules.yaml").write_text(RULES)
    began = time.monotonic()
    assert start(work_dir, work_dir / "whole", None) == 0
    seconds, wanted = time.monotonic() - began, shards(work_dir / "whole")
    done = whole = 0
    while done < kills or folder.exists():
        pause = rng.uniform(0.05, 0.6) * seconds if done < kills else None
        if start(work_dir, folder, pause) == 0:
            assert shards(folder) == wanted
            made = (folder / "log").read_text().split()
            assert CLIPS <= len(made) <= CLIPS + done - whole, f"{len(made)} clips made, {done - whole} kills"
            shutil.rmtree(folder)
            whole = done
        else:
            done += 1
            print(f"killed after {pause:.2f} of {seconds:.2f} s")
    print(f"{done} kills: the shards are those of the undisturbed chain")


def start(work_dir: Path, folder: Path, seconds: float | None) -> int:
    """Runs the chain in a child, killed after so many seconds; its exit code."""
    child = os.fork()
    if child == 0:
        chain(work_dir, folder)
        os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), f"the chain ended with {code}"
    return code


def chain(work_dir: Path, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    write = make.write_video

    def logged(path, frames, audio):
        write(path, frames, audio)
        with (folder / "log").open("a") as log:
            log.write(f"{path.stem}\n")

    make.write_video = logged
    clips = folder / "clips"
    prepare_clips(work_dir / "videos", clips, min_frames=10, min_side=32, progress=False)
    filter_clips(clips, FILTERS, workers=0, progress=False)
    select_clips(clips, 1, work_dir / "rules.yaml")
    encode_clips(clips, folder / "shards", FakeEncoders(), stage=1, frames=9, buckets="32x64", progress=False)


def shards(folder: Path) -> dict[str, bytes]:
    """All files of the shards but the report, which says what the last start did."""
    files = [path for path in sorted((folder / "shards").rglob("*")) if path.is_file() and path.name != "report.json"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("work_dir", type=Path)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    main(arguments.work_dir, arguments.kills, arguments.seed)
