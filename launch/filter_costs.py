"""What filtering a corpus costs: `python launch/filter_costs.py clips/ --models models/`.

Measures every filter on the clips of a prepared folder and prints clips per second and core, and core-hours for a
corpus. Time is that of the processor, over all threads, so that other work on the machine does not count.
"""

import time
from pathlib import Path
from typing import Annotated

import typer

from actavatar_jax.errors import InputError
from data_pipelines.filters import make_steps
from data_pipelines.report import Skip
from data_pipelines.steps import clip_path
from data_pipelines.table import Clip


def main(
    clip_dir: Path,
    models: Annotated[
        Path | None, typer.Option(help="Folder of ONNX models; filters without one are not timed.")
    ] = None,
    clips: Annotated[int, typer.Option(help="Size of the corpus for which core-hours are told.")] = 500_000,
) -> None:
    """Prints one line per filter and the sum."""
    found = [Clip(path.stem, "", path.name) for path in sorted((clip_dir / "clips").glob("*.mp4"))]
    if not found:
        raise typer.BadParameter(f"{clip_dir}: no clips/*.mp4 here; `actavatar prepare` makes them")
    total = 0.0
    print(f"{'filter':<12}{'clips/s per core':>18}{f'core-hours for {clips:,}':>30}   cannot be measured")
    for step in make_steps(models=models):
        if _measured(step, found[0], clip_dir) == {"available": False}:  # also loads what is loaded once
            print(f"{step.name:<12}{'not available':>18}")
            continue
        start = time.process_time()
        failed = sum(_measured(step, clip, clip_dir) is None for clip in found)
        seconds = (time.process_time() - start) / len(found)
        total += seconds
        print(f"{step.name:<12}{1 / seconds:>18.2f}{seconds * clips / 3600:>30.1f}   {failed} of {len(found)}")
    print(f"{'together':<12}{1 / total:>18.2f}{total * clips / 3600:>30.1f}")
    mean = sum(clip_path(clip, clip_dir).stat().st_size for clip in found) / len(found)
    print(f"{len(found)} clips of {mean / 1e6:.1f} MB on average")


def _measured(step, clip: Clip, clip_dir: Path) -> dict | None:
    try:
        return step.measure(clip, clip_dir)
    except (InputError, Skip):
        return None


if __name__ == "__main__":
    typer.run(main)
