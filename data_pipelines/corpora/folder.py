"""Any folder of videos. What is said of a video stands in a `.json` or `.txt` file of the same name beside it.

`prepare` reads these files: a `.json` is a structured prompt, a `.txt` a caption or a prompt in text form.
"""

from collections.abc import Iterator

from actavatar_jax.errors import InputError
from actavatar_jax.media.formats import VIDEO_SUFFIXES
from actavatar_jax.storage import Place
from data_pipelines.corpora.layout import find_videos, make_clip_id
from data_pipelines.table import Clip, StepReport


def read_folder(src: Place, unpacked: Place, report: StepReport) -> Iterator[Clip]:
    """One clip per video in the folder and below, with an id made of its name there."""
    described = set()
    for path in find_videos(src, report):
        described.add(path.with_suffix(""))
        yield Clip(id=make_clip_id(path.relative_to(src).as_posix()), corpus="folder", source=str(path))
    if not described:
        raise InputError(f"{src}: no video here or below; accepted are {', '.join(VIDEO_SUFFIXES)} files")
    for path in sorted([*src.rglob("*.txt"), *src.rglob("*.json")]):
        name = path.with_suffix("")
        ours = path.name.endswith(".report.json")
        if not ours and described.isdisjoint({name, name.with_suffix("")}):  # `<video>.truth.json` is of a video, too
            name = path.relative_to(src).as_posix()
            report.add(name, "skipped", "no clip", f"{name}: there is no video of this name beside it")
