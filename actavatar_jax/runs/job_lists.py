"""Jobs files: a video each line, all of them checked before the first one is made."""

import dataclasses
import logging
import os
from pathlib import Path
from typing import Annotated, Any, Required

from annotated_types import MinLen
from typing_extensions import TypedDict

from actavatar_jax.diffusion import sampling
from actavatar_jax.errors import InputError
from actavatar_jax.media import probe
from actavatar_jax.storage import named, read_json_lines, refusal

REQUIRED = ("image", "audio", "prompt", "out")
OPTIONS = (*sampling.OPTIONS, "anyway")  # of ActAvatarPipeline.__call__ that a job may set

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Job:
    """What one video is made of; `options` are keyword arguments of the pipeline."""

    image: str
    audio: str
    prompt: str | dict
    out: str
    options: dict[str, Any]


_Text = Annotated[str, MinLen(1)]
_Row = TypedDict(  # a line
    "_Row",
    {
        "image": Required[_Text],
        "audio": Required[_Text],
        "prompt": Required[_Text | dict[str, Any]],
        "out": Required[_Text],
        **{field.name: field.type for field in dataclasses.fields(sampling.Sampling)},
        "anyway": bool,
    },
    total=False,
)
_Row.__pydantic_config__ = {"extra": "forbid"}


def read_jobs(path: Path, shared: dict[str, Any]) -> list[Job]:
    """Jobs of a JSON lines file; a line's own options win over the shared ones.

    InputError on all bad lines, and on lines that would write the same video. Values beyond their ranges are a failure
    of their job alone, since what is accepted may depend on the model.
    """
    jobs, problems, outputs = [], [], {}
    for number, row in read_json_lines(path, _Row):
        if isinstance(row, InputError):
            problems.append(str(row).replace(f"{named(path)} ", "", 1))
            continue
        options = shared | {key: value for key, value in row.items() if key in OPTIONS}
        jobs.append(Job(*(row[key] for key in REQUIRED), options))
        first = outputs.setdefault(os.path.realpath(row["out"]), number)
        if first < number:
            problems.append(f"lines {first} and {number} have the same output {named(row['out'])}")
    if problems:
        raise refusal(f"The jobs file {named(path)} has problems:", problems)
    if not jobs:
        raise InputError(f"The jobs file {named(path)} is empty; give a JSON object a line with {', '.join(REQUIRED)}.")
    return jobs


def is_finished(job: Job) -> bool:
    """Whether its output is a video that opens and has a picture; anything else there is made again."""
    if not os.path.lexists(job.out):
        return False
    try:
        probe(job.out)
    except InputError as error:
        log.warning("%s is no finished video and is made again: %s", job.out, error)
        return False
    return True
