"""Prepares a folder of videos again and again, killed by SIGKILL before its first, second, third ... rename.

After each kill the preparation is repeated undisturbed and must end as one that was never killed. Runs as its own
process, which forks for every attempt: python -m tests.data.clips.kill_prepare VIDEO_DIR WORK_DIR. Prints how many
kills.
"""

import os
import signal
import sys
from pathlib import Path

from data_pipelines.clips import prepare_clips
from tests.data.forks import in_child, tree


def main(video_dir: Path, work_dir: Path) -> int:
    assert in_child(lambda: run(video_dir, work_dir / "whole")) == 0
    wanted = tree(work_dir / "whole")
    for step in range(100):
        clips = work_dir / str(step)

        def killed(step=step, clips=clips):
            kill_before_rename(step)
            run(video_dir, clips)

        ended = in_child(killed)
        if ended == 0:
            return step
        assert in_child(lambda clips=clips: run(video_dir, clips)) == 0
        assert tree(clips) == wanted, f"killed before rename {step}"
    raise AssertionError("the preparation never came to its end")


def run(video_dir: Path, clip_dir: Path) -> None:
    prepare_clips(video_dir, clip_dir, min_frames=10, min_side=32, progress=False)


def kill_before_rename(step: int) -> None:
    replace, left = os.replace, [step]

    def armed(*paths):
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        replace(*paths)

    os.replace = armed


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), Path(sys.argv[2])))
