"""Pairs of videos for preference steps: every job is sampled with several seeds, a program scores what comes out, and
the best and the worst are kept.

<out>/candidates/<job>-<seed>.mp4    what was scored; .npy are its latents, and .json, written last, its score
     /preferred/<bucket>/            shards, as `make_pair_loader` reads them
     /rejected/<bucket>/
"""

import dataclasses
import logging
import math
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from actavatar_jax.errors import InputError
from actavatar_jax.media import Sound, Video, load_sound
from actavatar_jax.media.clock import FPS
from actavatar_jax.pipeline import ActAvatarPipeline
from actavatar_jax.prompt import StructuredPrompt
from actavatar_jax.prompt.forms import has_anchors
from actavatar_jax.runs.jobs import Job
from actavatar_jax.storage import cut, named, plain, read_json, replaced_folder, shown, write_json
from data_pipelines.loading import HALVES
from data_pipelines.shards import (
    BFLOAT16,
    Bucket,
    Record,
    RecordMaker,
    describe_records,
    serialize_record,
    write_dataset,
)

PER_SHARD = 64  # records

log = logging.getLogger(__name__)


class Candidate(NamedTuple):
    """A video that was scored."""

    score: float
    latents: Path


class Pair(NamedTuple):
    job: Job
    sound: Sound
    bucket: Bucket
    halves: tuple[Path, Path]  # latents of the preferred and of the rejected video


def make_pairs(
    model: Path | str | ActAvatarPipeline, jobs: Sequence[Job], out: Path, seeds: int, score: str, **loading: Any
) -> int:
    """Writes a folder of pairs and returns their number. Run again, it makes what is missing.

    Args:
      model: a model folder, read with `loading` options, or a pipeline.
      jobs: as of `actavatar sample --jobs`; where they write videos to is of no account.
      seeds: so many for each job, from its own on.
      score: a command with `{video}` in it, the higher the better: the last line that it prints is a number.

    Raises:
      InputError: fewer than two seeds, a job of a video in parts, a program that fails or prints no number, or no job
        with two videos that it tells apart.
    """
    if seeds < 2:
        raise InputError(f"A pair is of at least 2 seeds; {seeds} are given.")
    if "{video}" not in score:
        raise InputError(f"The score is {shown(score)}; accepted is a command with {{video}} in it.")
    if parts := [job for job in jobs if job.long]:
        raise InputError(f"The job of {named(parts[0].out)} is of a video in parts; pairs are of videos made at once.")
    pipeline = model if isinstance(model, ActAvatarPipeline) else ActAvatarPipeline.from_pretrained(model, **loading)
    pairs = []
    for number, job in enumerate(tqdm(jobs, "pairs", unit="job")):
        candidates = [_candidate(pipeline, job, out, number, place, score) for place in range(seeds)]
        pairs.append(_pair(pipeline, job, number, candidates))
    pairs = [pair for pair in pairs if pair]
    if not pairs:
        raise InputError("All videos of a job have the same score, in every job: there is nothing to prefer.")
    for half, name in enumerate(HALVES):
        _write(pipeline, out / name, pairs, half)
    return len(pairs)


def _candidate(pipeline: ActAvatarPipeline, job: Job, out: Path, number: int, place: int, score: str) -> Candidate:
    sampling = pipeline.choose_sampling(None, _sampling(job))
    seed = sampling.seed + place
    stem = out / "candidates" / f"{number:05d}-{seed}"
    told, latents, video = (stem.with_suffix(kind) for kind in (".json", ".npy", ".mp4"))
    of = {"image": job.image, "audio": job.audio, "prompt": job.prompt, "sampling": dataclasses.asdict(sampling)}
    of = plain(of)
    if told.is_file() and read_json(told)["of"] != of:
        raise InputError(f"{named(told)} is of another job; give an empty folder.")
    if not told.is_file():
        stem.parent.mkdir(parents=True, exist_ok=True)
        made, picture, sound = pipeline.sample_latents(
            job.image, job.audio, job.prompt, sampling.changed(seed=seed), anyway=bool(job.options.get("anyway"))
        )
        np.save(latents, made)
        Video(pipeline.encoders.decode(made, picture), sound, sampling.rate or FPS).save(video)
        write_json(told, {"score": _score(score, video), "of": of})
    return Candidate(float(read_json(told)["score"]), latents)


def _sampling(job: Job) -> dict[str, Any]:
    return {name: value for name, value in job.call.items() if name != "anyway"}


def _score(command: str, video: Path) -> float:
    """What a program says of a video."""
    arguments = [part.replace("{video}", str(video)) for part in shlex.split(command)]
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    except OSError as error:
        raise InputError(f"The score's program {shown(arguments[0])} cannot be run: {error.strerror}.") from error
    lines = done.stdout.split()
    said = lines[-1] if lines else ""
    try:
        value = float(said)
    except ValueError:
        value = math.nan
    if done.returncode or not math.isfinite(value):
        problem = done.stderr.strip() or f"it printed {shown(cut(said, 40))}, which is no number"
        raise InputError(f"The score of {named(video)} failed with code {done.returncode}: {cut(problem, 200)}.")
    return value


def _pair(pipeline: ActAvatarPipeline, job: Job, number: int, candidates: Sequence[Candidate]) -> Pair | None:
    best, worst = max(candidates, key=lambda one: one.score), min(candidates, key=lambda one: one.score)
    if best.score == worst.score:
        log.warning("Job %d: all videos have the score %g, and it is left out.", number, best.score)
        return None
    frames, height, width, _ = np.load(best.latents, mmap_mode="r").shape
    stride = pipeline.encoders.vae.config.stride
    bucket = Bucket(height * stride, width * stride, 4 * frames - 3)
    return Pair(job, load_sound(job.audio).fit(bucket.frames), bucket, (best.latents, worst.latents))


def _write(pipeline: ActAvatarPipeline, folder: Path, pairs: Sequence[Pair], half: int) -> None:
    anchors = has_anchors(pipeline.transformer.config.phase_time)
    maker = RecordMaker(pipeline.encoders, anchors)

    def records(inside: Sequence[Pair]) -> Iterator[bytes]:
        for pair in inside:
            yield serialize_record(_record(pipeline, maker, pair, half))

    with replaced_folder(folder) as partial:
        for bucket in dict.fromkeys(pair.bucket for pair in pairs):
            inside = [pair for pair in pairs if pair.bucket == bucket]
            made_by = describe_records(pipeline.encoders, bucket.frames, anchors)
            made_by |= {"empty_prompt": maker.encode_empty_prompt().to_dict()}
            place = partial / str(bucket)
            place.mkdir()
            write_dataset(place, records(inside), len(inside), PER_SHARD, made_by)


def _record(pipeline: ActAvatarPipeline, maker: RecordMaker, pair: Pair, half: int) -> Record:
    frames = pair.bucket.frames
    prompt = StructuredPrompt.for_clip(pair.job.prompt, frames / FPS)
    return {
        "clip": Path(pair.job.audio).name,
        "start": 0,
        "latents": np.load(pair.halves[half]).astype(BFLOAT16),
        **maker.encode_text(prompt),
        "audio_feats": np.asarray(pipeline.encoders.audio(pair.sound.to_audio(), frames)).astype(np.float16),
    }
