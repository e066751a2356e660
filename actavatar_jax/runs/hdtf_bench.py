"""The HDTF protocol: the clips of our test list as a bench, and beside it what was filmed.

<folder>/hdtf.parquet         the clips of the list that are on disk
        /prepared/            their stretches, as `prepare` makes clips
        /real/<id>.mp4        the same files: 125 frames at 25 a second
        /pictures/<id>.png    their first frames
        /speech/<id>.wav      their sound
        /bench.jsonl
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.io.wavfile
from PIL import Image

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.bench import BENCH_FILE, BenchItem, write_bench
from actavatar_jax.media import FPS, SAMPLE_RATE, load_audio, read_frames
from actavatar_jax.storage import locked_folder, named, replaced_folder
from data_pipelines.clips import prepare_clips
from data_pipelines.corpora import TEST_SECONDS, build_corpus_table, list_test_clips
from data_pipelines.table import StepReport, shelved

LIST, PREPARED = "hdtf.parquet", "prepared"
BASE = "A person is talking to the camera."  # nothing is written about the clips, and no window is asked for
START = "hdtf.test_start"


def write_hdtf_bench(
    videos: str | Path, folder: str | Path, *, workers: int | None = 0, progress: bool = True
) -> StepReport:
    """Writes `bench.jsonl` of the clips of our test list that are on disk, 5 s each, with the filmed clips in `real`.

    The list depends on HDTF's own lists alone: a video that is gone is missing, and no other takes its place. Pictures
    are cropped as the corpus's reader says, which leaves them whole.

    Args:
      videos: HDTF as `read_hdtf` takes it, its lists and the videos, whole or cut.
      workers: see `run_step`.

    Returns:
      What became of all clips of the list.

    Raises:
      InputError: no clip of the list can be made, or `folder` lies among the videos.
    """
    videos, folder = Path(videos), Path(os.path.abspath(folder))
    if folder.resolve().is_relative_to(videos.resolve()):
        raise InputError(f"{named(folder)} lies among the videos, and what is made would be read as one; go elsewhere.")
    folder.mkdir(parents=True, exist_ok=True)
    with locked_folder(folder):
        missing = _write_list(videos, folder / LIST)
        options = {"min_frames": TEST_SECONDS * FPS, "workers": workers, "progress": progress}
        prepared = prepare_clips(folder / LIST, folder / PREPARED, **options)
        report = StepReport(f"hdtf {videos} -> {folder}", prepared.outcomes + missing.outcomes)
        made = [outcome.name for outcome in prepared.outcomes if outcome.status in ("made", "kept")]
        if not made:
            report.check()
        _write_items(made, folder)
    return report


def _write_list(videos: Path, path: Path) -> StepReport:
    """Writes the table of the stretches that are on disk; the report has the others."""
    reading, wanted = StepReport("reading"), list_test_clips(videos)
    table = build_corpus_table("hdtf", videos, reading, path)
    starts = table.column(START) if START in table.names else []
    if not any(start is not None for start in starts):
        raise InputError(f"{named(videos)} has none of the {len(wanted)} clips of the test list.")
    tested = table.where([start is not None for start in starts])
    begins = tested.column(START)
    tested.with_columns({"start": begins, "end": [begin + TEST_SECONDS for begin in begins]}).write(path)
    lost = [outcome for outcome in reading.outcomes if outcome.name in wanted and outcome.status == "skipped"]
    return StepReport("missing", lost)


def _write_items(made: Sequence[str], folder: Path) -> None:
    items = []
    with (
        replaced_folder(folder / "real") as real,
        replaced_folder(folder / "pictures") as pictures,
        replaced_folder(folder / "speech") as speech,
    ):
        for number, name in enumerate(sorted(made)):
            film, picture, sound = f"{name}.mp4", f"{name}.png", f"{name}.wav"
            _link(shelved(folder / PREPARED / "clips", name, ".mp4"), real / film)
            Image.fromarray(next(read_frames(real / film))).save(pictures / picture)
            samples = load_audio(real / film, max_seconds=TEST_SECONDS)
            scipy.io.wavfile.write(speech / sound, SAMPLE_RATE, (samples * 32767).round().astype(np.int16))
            files = (folder / "pictures" / picture, folder / "speech" / sound)
            items.append(BenchItem(name, *files, BASE, (), float(TEST_SECONDS), category="hdtf", seed=number))
    write_bench(items, folder / BENCH_FILE)


def _link(source: Path, target: Path) -> None:
    """The same file under another name, or a copy where the file system has no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
