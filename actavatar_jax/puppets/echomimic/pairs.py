"""Pairs of talks for preference steps: of every clip several are made, and the judge says which is best and worst."""

from collections.abc import Sequence
from pathlib import Path

import scipy.io.wavfile
from PIL import Image

from actavatar_jax.echomimic import EchoMimicPipeline, EchoMimicSampling
from actavatar_jax.echomimic.request import EVERYWHERE
from actavatar_jax.media import load_video
from actavatar_jax.media.clock import SAMPLE_RATE
from actavatar_jax.puppets.echomimic.scores import rate
from actavatar_jax.puppets.judge.network import load_judge
from actavatar_jax.puppets.world.clips import PuppetClip
from actavatar_jax.runs.candidates import EchoMimicJob, EchoMimicMaker
from actavatar_jax.runs.preferences import make_pairs


def make_puppet_pairs(
    pipeline: EchoMimicPipeline,
    clips: Sequence[PuppetClip],
    sampling: EchoMimicSampling,
    folder: Path,
    seeds: int,
) -> int:
    """Writes `folder/pairs`, as `make_pairs` does, of clips that the model was not trained on; their number.

    What of a clip is given to the model lies in `folder/clips`. Raises InputError as `make_pairs`.
    """
    judge, jobs = (
        load_judge(),
        [write_job(folder / "clips", clip, number, sampling) for number, clip in enumerate(clips)],
    )
    by_job = {job.out: clip for job, clip in zip(jobs, clips, strict=True)}

    def score(job: EchoMimicJob, video: Path) -> float:
        return rate(judge, load_video(video).frames, by_job[job.out])

    return make_pairs(lambda: EchoMimicMaker(pipeline), jobs, folder / "pairs", seeds, score)


def write_job(folder: Path, clip: PuppetClip, number: int, sampling: EchoMimicSampling) -> EchoMimicJob:
    """A talk of a clip, of whose first frame and speech there are then files."""
    folder.mkdir(parents=True, exist_ok=True)
    picture, sound = (folder / f"{number:05d}{kind}" for kind in (".png", ".wav"))
    Image.fromarray(clip.frames[0]).save(picture)
    scipy.io.wavfile.write(sound, SAMPLE_RATE, clip.audio)
    given = {"image": str(picture), "face": EVERYWHERE}
    return EchoMimicJob(str(sound), clip.prompt.to_dict(), f"{number:05d}.mp4", given, sampling)
