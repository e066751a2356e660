"""Videos of one job that are scored against each other, and what a record of them holds: for each system."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from actavatar_jax.echomimic import DEFAULTS, TRAINED, EchoMimicPipeline, EchoMimicSampling
from actavatar_jax.errors import InputError
from actavatar_jax.media import Video, load_sound
from actavatar_jax.media.clock import FPS
from actavatar_jax.pipeline import ActAvatarPipeline
from actavatar_jax.prompt import StructuredPrompt
from actavatar_jax.prompt.forms import has_anchors
from actavatar_jax.runs.jobs import Job
from actavatar_jax.storage import named, plain, read_json_lines
from data_pipelines.shards import BFLOAT16, FrozenEncoders, Record, RecordMaker

REQUIRED = ("audio", "prompt", "out")  # of a job of EchoMimicV3
GIVEN = ("image", "task", "last_image", "video", "mouth", "face")  # of its call, besides the options of sampling


class Made(NamedTuple):
    """A video of a job: its latents [T, H, W, C], and as it is looked at."""

    latents: Float32[np.ndarray, "T H W C"]
    video: Video


@runtime_checkable
class Maker(Protocol):
    """Makes the videos of jobs by one system."""

    encoders: FrozenEncoders
    anchors: bool  # whether its texts have labels and anchors

    def check(self, job: Any) -> None:
        """InputError for a job whose videos are no candidates."""

    def seed(self, job: Any) -> int:
        """Of the job's first video."""

    def make(self, job: Any, seed: int) -> Made: ...

    def about(self, job: Any) -> Mapping[str, Any]:
        """What tells one job's videos from another's; plain values."""

    def fields(self, job: Any, frames: int, maker: RecordMaker) -> Record:
        """What the record of a video of so many frames holds besides its latents."""


@dataclasses.dataclass(frozen=True, eq=False)
class AvatarMaker:
    """ActAvatar's, of jobs as of `actavatar sample --jobs`."""

    pipeline: ActAvatarPipeline

    @classmethod
    def open(cls, model: Path | str, **loading: Any) -> "AvatarMaker":
        return cls(ActAvatarPipeline.from_pretrained(model, **loading))

    @property
    def encoders(self) -> FrozenEncoders:
        return self.pipeline.encoders

    @property
    def anchors(self) -> bool:
        return has_anchors(self.pipeline.transformer.config.phase_time)

    def check(self, job: Job) -> None:
        if job.long:
            raise InputError(f"The job of {named(job.out)} is of a video in parts; pairs are of videos made at once.")

    def seed(self, job: Job) -> int:
        return self._sampling(job).seed

    def make(self, job: Job, seed: int) -> Made:
        sampling = self._sampling(job).changed(seed=seed)
        anyway = bool(job.options.get("anyway"))
        latents, picture, sound = self.pipeline.sample_latents(
            job.image, job.audio, job.prompt, sampling, anyway=anyway
        )
        frames = self.pipeline.encoders.decode(latents, picture)
        return Made(latents, Video(frames, sound, sampling.rate or FPS))

    def about(self, job: Job) -> Mapping[str, Any]:
        sampling = dataclasses.asdict(self._sampling(job))
        return plain({"image": job.image, "audio": job.audio, "prompt": job.prompt, "sampling": sampling})

    def fields(self, job: Job, frames: int, maker: RecordMaker) -> Record:
        prompt, sound = StructuredPrompt.for_clip(job.prompt, frames / FPS), load_sound(job.audio).fit(frames)
        heard = np.asarray(self.encoders.audio(sound.to_audio(), frames)).astype(np.float16)
        return {**maker.encode_text(prompt), "audio_feats": heard}

    def _sampling(self, job: Job) -> Any:
        return self.pipeline.choose_sampling(None, {name: x for name, x in job.call.items() if name != "anyway"})


@dataclasses.dataclass(frozen=True)
class EchoMimicJob:
    """A line of a jobs file of EchoMimicV3."""

    audio: str
    prompt: str | dict
    out: str
    given: dict[str, Any]  # of `GIVEN`
    sampling: EchoMimicSampling

    @property
    def task(self) -> str:
        return self.given.get("task", "first_frame")


def read_echomimic_jobs(path: Path, variant: str, **shared: Any) -> list[EchoMimicJob]:
    """Jobs of a JSON lines file: audio, prompt, out, what its task takes (image, last_image, video, mouth), face, and
    options of `EchoMimicSampling`, before which `shared` ones stand back.

    Of `preview` speech is heard everywhere unless face says where. Raises InputError for the first bad line.
    """
    jobs = []
    for number, row in read_json_lines(path, dict[str, Any]):
        if isinstance(row, InputError):
            raise row
        if missing := [name for name in REQUIRED if name not in row]:
            raise InputError(f"Line {number} of {named(path)} lacks {' and '.join(missing)}.")
        given = {name: row[name] for name in GIVEN if name in row}
        if variant == "preview":
            given.setdefault("face", "everywhere")
        options = shared | {name: x for name, x in row.items() if name not in (*REQUIRED, *GIVEN)}
        audio, prompt, out = (row[name] for name in REQUIRED)
        jobs.append(EchoMimicJob(audio, prompt, out, given, DEFAULTS[variant].changed(**options)))
    if not jobs:
        raise InputError(f"The jobs file {named(path)} is empty; give a JSON object a line with {', '.join(REQUIRED)}.")
    return jobs


@dataclasses.dataclass(frozen=True, eq=False)
class EchoMimicMaker:
    """EchoMimicV3's, of `EchoMimicJob`s."""

    pipeline: EchoMimicPipeline
    anchors: bool = False

    @classmethod
    def open(cls, *folders: Path | str, **loading: Any) -> "EchoMimicMaker":
        return cls(EchoMimicPipeline.from_pretrained(*folders, **loading))

    @property
    def encoders(self) -> FrozenEncoders:
        return self.pipeline.encoders

    def check(self, job: EchoMimicJob) -> None:
        if job.task not in TRAINED:
            raise InputError(
                f"The job of {named(job.out)} is of the task {job.task}; pairs are of {', '.join(TRAINED)}."
            )

    def seed(self, job: EchoMimicJob) -> int:
        return job.sampling.seed

    def make(self, job: EchoMimicJob, seed: int) -> Made:
        sampling = job.sampling.changed(seed=seed)
        latents = self.pipeline.sample_latents(job.audio, job.prompt, sampling=sampling, **job.given)
        _, request = self.pipeline.find_known(job.audio, sampling=sampling, **job.given)
        frames = self.pipeline.decode(latents, request.task)
        return Made(latents, Video(frames, load_sound(job.audio).fit(len(frames))))

    def about(self, job: EchoMimicJob) -> Mapping[str, Any]:
        return plain(dataclasses.asdict(job) | {"out": None})

    def fields(self, job: EchoMimicJob, frames: int, maker: RecordMaker) -> Record:
        known, request = self.pipeline.find_known(job.audio, sampling=job.sampling, **job.given)
        heard = self.pipeline.encoders.audio(request.speech.to_audio(), frames)
        return {
            **maker.encode_text(StructuredPrompt.for_clip(job.prompt, frames / FPS)),
            "audio_feats": heard.astype(np.float16),
            "picture": self.pipeline.encoders.picture(request.picture).astype(BFLOAT16),
            "tasks": np.asarray([TRAINED.index(job.task)], np.int8),
            "known": known[None].astype(BFLOAT16),
        }
