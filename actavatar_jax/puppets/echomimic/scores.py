"""What a model is worth on unseen clips: a talk from the first frame, with windows and without, and the other tasks.

F video frames, h w pixel sides.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8
from tqdm import tqdm

from actavatar_jax.echomimic import EchoMimicPipeline, EchoMimicSampling
from actavatar_jax.echomimic.request import EVERYWHERE
from actavatar_jax.echomimic.tasks import region_of_boxes
from actavatar_jax.evaluation.measures import lip_correlation, psnr_of, temporal_iou
from actavatar_jax.evaluation.report import Figure, Report, mean_figure
from actavatar_jax.puppets import recipe as puppets
from actavatar_jax.puppets.echomimic.picture import UNKNOWN, draw_dub
from actavatar_jax.puppets.judge.network import Judge, load_judge
from actavatar_jax.puppets.pictures.sheets import draw_contacts
from actavatar_jax.puppets.world.clips import PuppetClip
from actavatar_jax.puppets.world.regions import talking_boxes

Frames = UInt8[np.ndarray, "F h w 3"]
SHOWN = 6  # talks on a sheet
CONTINUED = 13  # frames with which a continuation begins
OFF = ("hit", "accuracy", "iou", "iou_gap", "lip_at_zero")  # that are told of talks whose windows are not heeded


def evaluate(
    pipeline: EchoMimicPipeline, clips: Sequence[PuppetClip], sampling: EchoMimicSampling, sheets: Path
) -> Report:
    """All figures of a model; in the folder `sheets` are then pictures of its first talks and of a dubbed clip.

    Those of a talk from the first frame are `recipe.score`'s; `off_...` the same where the text tells actions without
    windows, `last_free` its last frame. `last_given`: the last frame where it was given; `continued`: frames after the
    first 13, which were given; `dub_new` and `dub_old`: lips of a clip that another one's speech was put on, with that
    speech and with its own, at lag 0; `dub_around`: PSNR of what was not to change.
    """
    pairs = [(clip, talk(pipeline, clip, sampling)) for clip in tqdm(clips, "talking", unit="clip")]
    plain = ((clip, talk(pipeline, clip, sampling, windows=False)) for clip in tqdm(clips, "untimed", unit="clip"))
    report, untimed = puppets.score(pairs), puppets.score(plain)
    off = {f"off_{name}": untimed.figures[name] for name in OFF if name in untimed.figures}
    ends = [end_as(pipeline, clip, sampling) for clip in tqdm(clips, "ending", unit="clip")]
    on = [go_on(pipeline, clip, sampling) for clip in tqdm(clips, "going on", unit="clip")]
    others = [*clips[1:], clips[0]]
    dubbed = tqdm([*zip(clips, others, strict=True)], "dubbing", unit="clip")
    films = [dub(pipeline, clip, other, sampling) for clip, other in dubbed]
    own = {
        "last_free": _mean(clips, [frames for _, frames in pairs], lambda clip, frames: _psnr(clip, frames, -1)),
        "last_given": _mean(clips, ends, lambda clip, frames: _psnr(clip, frames, -1)),
        "continued": _mean(clips, on, lambda clip, frames: _psnr(clip, frames, CONTINUED)),
        **_dubbed(load_judge(), clips, others, films),
    }
    draw_contacts(sheets / "talks.png", [(clip.frames, frames) for clip, frames in pairs[:SHOWN]])
    draw_first_dub(sheets / "dub.png", clips[0], others[0], films[0])
    return Report(len(clips), {**report.figures, **off, **own})


def talk(pipeline: EchoMimicPipeline, clip: PuppetClip, sampling: EchoMimicSampling, windows: bool = True) -> Frames:
    """What the model makes of a clip's first frame, speech and prompt; without `windows` its actions have no times."""
    prompt = clip.prompt if windows else " ".join([clip.prompt.base, *(phase.action for phase in clip.prompt.phases)])
    sampling = sampling.changed(phase_time="relay" if windows else "none")
    return _make(pipeline, clip.frames[0], clip.audio, prompt, sampling)


def end_as(pipeline: EchoMimicPipeline, clip: PuppetClip, sampling: EchoMimicSampling) -> Frames:
    """A talk of which the last frame is given too."""
    ends = {"task": "first_and_last", "last_image": clip.frames[-1]}
    return _make(pipeline, clip.frames[0], clip.audio, clip.prompt, sampling, **ends)


def go_on(pipeline: EchoMimicPipeline, clip: PuppetClip, sampling: EchoMimicSampling) -> Frames:
    """A talk of which the first `CONTINUED` frames are given."""
    begin = {"task": "continuation", "video": clip.frames[:CONTINUED]}
    return _make(pipeline, None, clip.audio, clip.prompt, sampling, **begin)


def dub(pipeline: EchoMimicPipeline, clip: PuppetClip, other: PuppetClip, sampling: EchoMimicSampling) -> Frames:
    """A clip that says what `other` says: all around the mouth is given."""
    given = {"task": "mouth", "video": clip.frames, "mouth": talking_boxes(clip)}
    return _make(pipeline, None, other.audio, clip.prompt, sampling, **given)


def rate(judge: Judge, frames: Frames, clip: PuppetClip) -> float:
    """How well a talk follows its speech and its windows, at best 2: lip correlation and the mean of temporal IoU."""
    seen = judge(frames)
    ious = [temporal_iou(seen.actions[:, seen.names.index(cue.action)], (cue.start, cue.end)) for cue in clip.cues]
    return lip_correlation(seen.opening, clip.opening).at_zero + float(np.mean(ious or [0.0]))


def _make(
    pipeline: EchoMimicPipeline, image: Any, audio: Any, prompt: Any, sampling: EchoMimicSampling, **given: Any
) -> Frames:
    return pipeline(image, audio, prompt, sampling=sampling, face=EVERYWHERE, **given).frames


def _dubbed(
    judge: Judge, clips: Sequence[PuppetClip], others: Sequence[PuppetClip], films: Sequence[Frames]
) -> dict[str, Figure]:
    mouths = [judge(frames).opening for frames in films]
    followed = {
        "dub_new": [lip_correlation(mouth, clip.opening).at_zero for mouth, clip in zip(mouths, others, strict=True)],
        "dub_old": [lip_correlation(mouth, clip.opening).at_zero for mouth, clip in zip(mouths, clips, strict=True)],
    }
    around = _mean(clips, films, lambda clip, frames: psnr_of(frames, clip.frames, ~talking_region(clip)))
    return {name: mean_figure(values) for name, values in followed.items()} | {"dub_around": around}


def draw_first_dub(path: Path, clip: PuppetClip, other: PuppetClip, film: Frames) -> None:
    """What was made of a clip with the speech of another one."""
    given = np.where(talking_region(clip)[..., None], np.uint8(UNKNOWN), clip.frames)
    draw_dub(path, clip.frames, given, film, clip.opening, other.opening, load_judge()(film).opening)


def talking_region(clip: PuppetClip) -> Bool[np.ndarray, "F h w"]:
    """The pixels that dubbing replaces."""
    size = clip.frames.shape[1:3]
    return region_of_boxes(talking_boxes(clip), size, size)


def _mean(
    clips: Sequence[PuppetClip], films: Sequence[Frames], measure: Callable[[PuppetClip, Frames], float]
) -> Figure:
    return mean_figure([measure(clip, frames) for clip, frames in zip(clips, films, strict=True)])


def _psnr(clip: PuppetClip, frames: Frames, begin: int) -> float:
    """Of the frames from `begin` on."""
    mask = np.zeros(frames.shape[:3], bool)
    mask[begin:] = True
    return psnr_of(frames, clip.frames, mask)
