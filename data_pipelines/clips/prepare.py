"""From videos to clips on one clock (25 frames a second, 16 kHz sound), each with its prompt, and a table of them."""

from collections.abc import Sequence

from actavatar_jax.errors import InputError
from actavatar_jax.storage import Place, absolute, join, locked_folder, mend_folder, open_place
from data_pipelines.clips.make import KeepClip, MakeClip, source_state
from data_pipelines.corpora import build_corpus_table, name_source
from data_pipelines.table import TIMEOUT, Process, Step, StepReport, Table, check_process, import_extra, run_step

STEP = "prepare"


def prepare_clips(
    videos: str | Place,
    clip_dir: str | Place,
    *,
    min_frames: int = 75,
    min_side: int = 256,
    trim: bool = False,
    runner: str = "processes",
    workers: int | None = 0,
    beam_options: Sequence[str] = (),
    process: Process | None = None,
    timeout: float = TIMEOUT,
    retry: bool = False,
    progress: bool = True,
) -> StepReport:
    """Makes `clip_dir/clips/<id>.mp4`, `<id>.json` and `clip_dir/manifest.parquet` of a table of clips or a folder.

    A clip is the table's stretch (`start`, `end`) of the video, cut to `crop`. Its prompt is the table's caption; that
    of a whole video rather the `.json` (structured prompt) or else the `.txt` (caption, or a prompt in text form) of
    the same name beside it. Clips of fewer than `min_frames` frames at 25 fps or with a side below `min_side` pixels
    are left out. With `trim`, a clip is cut to its longest shot, clear of the cuts beside it, and to the picture inside
    black borders; actions of a prompt move with it. What has not changed since an earlier run, complete or killed, is
    not done again, and what other steps found out about it stays in the table. runner, workers, beam_options,
    process, timeout, retry: see `run_step`.

    Columns `prepare.*`: frames, height, width (pixels), seconds; of the source fps_in, rotation (degrees);
    interlaced, whether pictures were stored as two fields, which were made whole; slot_error_ms, the largest distance
    of a picture's time stamp to its 1/25 s slot; bytes and digest of the clip's file; prompt ("structured",
    "brief", "none"); version, error, detail; of clips that are too small or too short the sizes that are known. With
    `trim` also shots (their number) and start, end (seconds in the source) and crop of what was kept, with the meaning
    that they have in the table of clips: without an end it goes to the video's, without a crop it is the whole picture.

    Returns the report, also written to `clip_dir/report.json`. Raises InputError if there is no video at all, if the
    clip folder lies in the folder of videos, and if another command changes it.
    """
    if trim:
        import_extra("scenedetect")
    videos, clip_dir = open_place(videos), absolute(open_place(clip_dir))
    report = StepReport(f"prepared {videos} -> {clip_dir}")
    table = _sources(videos, clip_dir, report)
    _check_apart(videos, clip_dir, table)
    _, count = check_process(process)
    settings = {"runner": runner, "workers": workers, "beam_options": beam_options, "progress": progress}
    settings |= {"process": process, "timeout": timeout, "retry": retry}
    version = "4" + (" trim 2" if trim else "")
    keep, limits = KeepClip(min_frames, min_side), f"{min_frames} {min_side}"
    step = Step(STEP, MakeClip(min_frames, min_side, trim), version, source_state, keep, limits)
    clip_dir.mkdir(parents=True, exist_ok=True)
    manifest = clip_dir / "manifest.parquet"
    with locked_folder(clip_dir, shared=count > 1):
        if count == 1:
            for place in (clip_dir / "clips", *(clip_dir / "clips").glob("[0-9a-f][0-9a-f]")):
                mend_folder(place)
        if manifest.is_file():
            table = table.with_steps_of(Table.read(manifest))
        if run_step(step, table, clip_dir, report=report, **settings) is not None:
            table.without_step(STEP).write(manifest)  # older folders had them in this file
            report.save(clip_dir / "report.json")
    return report


def _check_apart(videos: Place, clip_dir: Place, table: Table) -> None:
    """InputError where clips that are made now would be read as videos, now or by the next run."""
    inside = videos.is_dir() and clip_dir.resolve().is_relative_to(videos.resolve())
    if inside or any(source.startswith("clips/") for source in table.column("source")):
        raise InputError(f"{clip_dir}: the clips that are made there would be read as videos; give a folder elsewhere")


def _sources(videos: Place, clip_dir: Place, report: StepReport) -> Table:
    """The clips to be made; the report gets what a folder holds beside them."""
    if not videos.is_file():
        reading = StepReport("")
        table = build_corpus_table("folder", videos, reading, clip_dir / "manifest.parquet")
        report.outcomes += [outcome for outcome in reading.outcomes if outcome.status == "skipped"]
        return table
    table = Table.read(videos)
    paths = [absolute(join(videos.parent, source or "")) for source in table.column("source")]
    return table.with_columns({"source": [name_source(path, clip_dir) for path in paths]})
