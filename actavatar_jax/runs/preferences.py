"""Pairs of videos for preference steps: every job is sampled with several seeds, a program scores what comes out, and
the best and the worst are kept.

<out>/candidates/<job>-<seed>.mp4    what was scored; .npy are its latents, and .json, written last, its score
     /preferred/<bucket>/            shards, as `make_pair_loader` reads them
     /rejected/<bucket>/
"""

import logging
import math
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from actavatar_jax.errors import InputError
from actavatar_jax.media import load_video
from actavatar_jax.runs.candidates import Maker
from actavatar_jax.runs.regions import FindRegions, pick_frames
from actavatar_jax.storage import cut, named, read_json, replaced_folder, shown, write_json
from data_pipelines.loading import HALVES
from data_pipelines.shards import (
    BFLOAT16,
    Bucket,
    RecordMaker,
    describe_records,
    serialize_record,
    write_dataset,
)

PER_SHARD = 64  # records

Score = Callable[[Any, Path], float]  # of a job and a video of it

log = logging.getLogger(__name__)


class Candidate(NamedTuple):
    """A video that was scored, and its latents."""

    score: float
    video: Path
    latents: Path


class Pair(NamedTuple):
    job: Any
    bucket: Bucket
    halves: tuple[Path, Path]  # latents of the preferred and of the rejected video
    regions: UInt8[np.ndarray, "T H W"] | None  # where either shows hands or a face; None: nobody looked


def make_pairs(
    open_maker: Callable[[], Maker],
    jobs: Sequence[Any],
    out: Path,
    seeds: int,
    score: Score,
    find_regions: FindRegions | None = None,
) -> int:
    """Writes a folder of pairs and returns their number. Run again, it makes what is missing.

    Args:
      open_maker: gives the system whose videos they are, once what else is asked for has been looked at.
      jobs: that it makes; where they write videos to is of no account.
      seeds: so many for each job, from its own on.
      score: of a job's video, the higher the better, such as `scored_by` a program.
      find_regions: finds hands and faces, which records then tell of (`preference.region_weight`).

    Raises:
      InputError: fewer than two seeds, a job of a video in parts, what the score raises, or no job with two videos
        that it tells apart.
    """
    if seeds < 2:
        raise InputError(f"A pair is of at least 2 seeds; {seeds} are given.")
    maker = open_maker()
    for job in jobs:
        maker.check(job)
    pairs = []
    for number, job in enumerate(tqdm(jobs, "pairs", unit="job")):
        candidates = [_candidate(maker, job, out, number, place, score) for place in range(seeds)]
        pairs.append(_pair(maker, job, number, candidates, find_regions))
    pairs = [pair for pair in pairs if pair]
    if not pairs:
        raise InputError("All videos of a job have the same score, in every job: there is nothing to prefer.")
    for half, name in enumerate(HALVES):
        _write(maker, out / name, pairs, half)
    return len(pairs)


def scored_by(command: str) -> Score:
    """The number that is the last thing a program prints, which is given the video in the place of `{video}`.

    Raises InputError for a command without that, and when it is called, for a program that fails or prints no number.
    """
    if "{video}" not in command:
        raise InputError(f"The score is {shown(command)}; accepted is a command with {{video}} in it.")
    return lambda job, video: _run_score(command, video)


def _candidate(maker: Maker, job: Any, out: Path, number: int, place: int, score: Score) -> Candidate:
    seed = maker.seed(job) + place
    stem = out / "candidates" / f"{number:05d}-{seed}"
    told, latents, video = (stem.with_suffix(kind) for kind in (".json", ".npy", ".mp4"))
    of = maker.about(job)
    if told.is_file() and read_json(told)["of"] != of:
        raise InputError(f"{named(told)} is of another job; give an empty folder.")
    if not told.is_file():
        stem.parent.mkdir(parents=True, exist_ok=True)
        made = maker.make(job, seed)
        np.save(latents, made.latents)
        made.video.save(video)
        write_json(told, {"score": score(job, video), "of": of})
    return Candidate(float(read_json(told)["score"]), video, latents)


def _run_score(command: str, video: Path) -> float:
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


def _pair(
    maker: Maker, job: Any, number: int, candidates: Sequence[Candidate], find_regions: FindRegions | None
) -> Pair | None:
    best, worst = max(candidates, key=lambda one: one.score), min(candidates, key=lambda one: one.score)
    if best.score == worst.score:
        log.warning("Job %d: all videos have the score %g, and it is left out.", number, best.score)
        return None
    frames, height, width, _ = np.load(best.latents, mmap_mode="r").shape
    stride = maker.encoders.vae.config.stride
    bucket = Bucket(height * stride, width * stride, 4 * frames - 3)
    regions = None
    if find_regions:
        films = (pick_frames(load_video(one.video).frames, bucket.frames) for one in (best, worst))
        regions = np.maximum(*(find_regions(film, (height, width)) for film in films))
    return Pair(job, bucket, (best.latents, worst.latents), regions)


def _write(maker: Maker, folder: Path, pairs: Sequence[Pair], half: int) -> None:
    texts = RecordMaker(maker.encoders, maker.anchors)

    def records(inside: Sequence[Pair]) -> Iterator[bytes]:
        for pair in inside:
            yield serialize_record(
                {
                    "clip": Path(pair.job.audio).name,
                    "start": 0,
                    "latents": np.load(pair.halves[half]).astype(BFLOAT16),
                    **maker.fields(pair.job, pair.bucket.frames, texts),
                    **({} if pair.regions is None else {"regions": pair.regions}),
                }
            )

    with replaced_folder(folder) as partial:
        for bucket in dict.fromkeys(pair.bucket for pair in pairs):
            inside = [pair for pair in pairs if pair.bucket == bucket]
            made_by = describe_records(maker.encoders, bucket.frames, maker.anchors)
            made_by |= {} if inside[0].regions is None else {"regions": True}
            made_by |= {"empty_prompt": texts.encode_empty_prompt().to_dict()}
            place = partial / str(bucket)
            place.mkdir()
            write_dataset(place, records(inside), len(inside), PER_SHARD, made_by)
