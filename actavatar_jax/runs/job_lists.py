"""Jobs files: a video each line, all of them checked before the first one is made."""

import dataclasses
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Required

import jax
from annotated_types import MinLen
from typing_extensions import TypedDict

from actavatar_jax.diffusion import sampling
from actavatar_jax.errors import InputError
from actavatar_jax.media import load_audio, load_image, load_sound, probe
from actavatar_jax.pipeline import LongVideo, cut_parts, cut_prompt, prompt_of_long
from actavatar_jax.prompt import StructuredPrompt
from actavatar_jax.storage import check_output, first_of, named, read_json_lines, refusal, shown

SPEECH = "speech"  # in the place of seconds: as long as it
REQUIRED = ("image", "audio", "prompt", "out")
LONG = tuple(field.name for field in dataclasses.fields(LongVideo))
OPTIONS = (*sampling.OPTIONS, "anyway", *LONG)  # of the pipeline, that a job may set

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Job:
    """What one video is made of; `options` are keyword arguments of the pipeline."""

    image: str
    audio: str
    prompt: str | dict
    out: str
    options: dict[str, Any]

    @property
    def call(self) -> dict[str, Any]:
        """Options of one call of the pipeline."""
        return {name: value for name, value in self.options.items() if name not in LONG}

    @property
    def long(self) -> LongVideo | None:
        """Of a video in parts, which has its seconds given; None of any other. InputError for values out of range."""
        given = {name: value for name, value in self.options.items() if name in LONG}
        if not given:
            return None
        if "seconds" not in given:
            raise InputError(f"The option {first_of(sorted(given))} is for videos in parts; give seconds with it.")
        seconds = None if given["seconds"] == SPEECH else given["seconds"]
        return LongVideo(**{**given, "seconds": seconds})


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
        "seconds": float | Literal["speech"],
        "overlap": int,
        "hold_colours": bool,
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


def read_seconds(text: str | None) -> float | str | None:
    """Seconds as a command gives them: a number, or the word for as many as the speech has."""
    if text in (None, SPEECH):
        return text
    try:
        return float(text)
    except ValueError:
        raise InputError(f"The seconds are {shown(text)}; accepted is a number, or {SPEECH}.") from None


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


def check_video_name(out: str | Path) -> None:
    """InputError where the video cannot be written. The first process looks, as it alone writes."""
    if Path(out).suffix != ".mp4":
        raise InputError(f"The output {named(out)} is not an .mp4 file; videos are written as .mp4.")
    if jax.process_index() == 0:
        check_output(out)


def check_inputs(job: Job, num_frames: int, rate: int) -> None:
    """InputError for what is wrong with the portrait, the recording or the prompt, whatever else the model may say.

    `num_frames` and `rate` are of videos for which none is asked for. Of the recording, the first second is read.
    """
    load_image(job.image)
    load_audio(job.audio, max_seconds=1)
    rate = sampling.Sampling(rate=job.options.get("rate")).rate or rate
    part, long = job.options.get("num_frames") or num_frames, job.long
    if long is None:
        StructuredPrompt.coerce(job.prompt, part / rate).check(part / rate)
    else:
        frames = long.frames(load_sound(job.audio) if long.seconds is None else None, rate)
        prompt = prompt_of_long(job.prompt, frames, rate)
        cut_prompt(prompt, cut_parts(frames, part, long.known, prompt, rate), part, rate)


def with_seeds(job: Job, seeds: Sequence[int] = (), count: int = 1) -> list[Job]:
    """A job for each of several `seeds`, or `count` jobs with seeds from the job's own on (0 if it has none).

    They write beside each other, as `<out>-seed<number>.mp4`. InputError where both are asked for.
    """
    if len(seeds) > 1 and count > 1:
        raise InputError(f"{len(seeds)} seeds and {count} videos are asked for; give seeds or a number, not both.")
    if len(set(seeds)) < len(seeds):
        raise InputError(f"Of the seeds {shown(list(seeds))} some are alike, and so would be their videos.")
    if max(len(seeds), count) == 1:
        return [job]
    first, out = job.options.get("seed", 0), Path(job.out)
    return [
        dataclasses.replace(job, out=str(out.with_stem(f"{out.stem}-seed{seed}")), options=job.options | {"seed": seed})
        for seed in (seeds if len(seeds) > 1 else range(first, first + count))
    ]
