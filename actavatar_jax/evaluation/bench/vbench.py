"""VBench's results of single videos, as the files that stand beside our own numbers (`external`).

VBench writes `<name>_eval_results.json`: of each dimension the mean, and a list of videos with theirs.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.bench.external import ExternalFile
from actavatar_jax.storage import named, read_json, write_json

UNRANKED = ("dynamic_degree",)  # how much moves: of that more is not better


@dataclass(frozen=True)
class _Video:
    __pydantic_config__: ClassVar = {"extra": "ignore"}

    video_path: str
    video_results: float | bool


def read_vbench(path: str | Path) -> list[ExternalFile]:
    """A file for each dimension; a video's number is as VBench has it, under the name of its file without suffix.

    Raises:
      InputError: the file cannot be read, is of another form, or holds no video.
    """
    dimensions = read_json(path, dict[str, tuple[Any, list[_Video]]])
    files = []
    for dimension, (_, videos) in dimensions.items():
        if not videos:
            raise InputError(f"{named(path)}: {dimension} has no videos; accepted are results of at least one.")
        scores = {Path(video.video_path).stem: float(video.video_results) for video in videos}
        title, better = f"VBench, {dimension.replace('_', ' ')}", "" if dimension in UNRANKED else "higher"
        files.append(ExternalFile(f"vbench_{dimension}", title, "VBench, custom input", scores, better))
    if not files:
        raise InputError(f"{named(path)} has no dimension; accepted is what VBench writes, <name>_eval_results.json.")
    return files


def convert_vbench(path: str | Path, out: str | Path) -> list[Path]:
    """Writes each dimension to `out/vbench_<dimension>.json`, for `--external`. Raises InputError as `read_vbench`."""
    written = []
    for file in read_vbench(path):
        written.append(Path(out) / f"{file.name}.json")
        write_json(written[-1], asdict(file))
    return written
