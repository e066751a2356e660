"""`actavatar demo`: draws a small world, trains a small model on it, and makes a talking video of someone new in it."""

import itertools
from pathlib import Path

import numpy as np
from PIL import Image

from actavatar_jax import experiment
from actavatar_jax.encoders import Encoders
from actavatar_jax.media import contact_sheet
from actavatar_jax.pipeline import ActAvatarPipeline
from actavatar_jax.training import settings
from data_pipelines.encode import encode
from data_pipelines.prepare import prepare
from data_pipelines.puppets.clips import PuppetClip, make_clip, write_clips
from data_pipelines.puppets.draw import mouth_box
from data_pipelines.small_world import init_model

FRAMES, SIDE = 49, 64


def run(out: Path, *, steps: int, clips: int = 192, seed: int = 0) -> str:
    """Makes everything below `out` and returns the score line; run again, it goes on where it stopped.

    The model has never seen the person, the sentence or the prompt of the sample. Its weights are random before the
    `steps` of training, so expect a blurred puppet whose mouth and arms follow, not a film.
    """
    if not (out / "videos").exists():
        write_clips(out / "videos.partial", range(seed, seed + clips), FRAMES, SIDE)
        (out / "videos.partial").rename(out / "videos")
    prepare(out / "videos", out / "clips", min_frames=FRAMES, min_side=SIDE)
    if not (out / "base" / "model_index.json").exists():
        init_model(out / "clips", out / "base", preset="demo", size=(SIDE, SIDE), num_frames=FRAMES, seed=seed)
    encode(out / "clips", out / "shards", Encoders.from_folder(out / "base"), frames=FRAMES, buckets=f"{SIDE}x{SIDE}")
    experiment.run(training_config(out, steps, seed), out)
    unseen = (make_clip(number, FRAMES, SIDE) for number in itertools.count(seed + clips))
    return sample(out, next(clip for clip in unseen if len(clip.prompt.phases) == 2))


def training_config(out: Path, steps: int, seed: int):
    """Everything is trained at once, with the helps that a backbone without a past needs."""
    config = settings.training()
    config.seed = seed
    config.precision = "float32"  # bfloat16 is slower on CPUs
    config.model.folder = str(out / "base")
    config.model.remat = "none"
    config.data.dirs = (str(out / "shards"),)
    config.data.batch_size = 16
    config.steps = f"{steps} steps"
    config.log_every = "50 steps"
    config.checkpoint_every = f"{max(steps // 4, 1)} steps"
    config.rules = settings.FROM_SCRATCH
    config.optim.learning_rate = 1.5e-3
    config.optim.schedule = "cosine"
    config.optim.warmup = f"{min(100, steps // 2)} steps"
    config.time_law.noisy_share = 0.5
    return config


def sample(out: Path, truth: PuppetClip) -> str:
    """The presenter, voice and prompt of a clip that was never trained on -> mp4, contact sheet, score line."""
    pipeline = ActAvatarPipeline.from_pretrained(out / "model")
    video = pipeline(truth.frames[0], truth.audio, truth.prompt, steps=24, text_guidance=1.5, audio_guidance=1.5)
    video.save(out / "demo.mp4")

    every = range(0, FRAMES, 6)
    rows = np.concatenate([truth.frames[every], video.frames[every]])
    labels = [f"{kind} {i / 25:.2f}s" for kind in ("drawn", "sampled") for i in every]
    enlarged = rows.repeat(3, axis=1).repeat(3, axis=2)
    Image.fromarray(contact_sheet(enlarged, columns=len(every), labels=labels)).save(out / "demo.png")

    box = (slice(None), *mouth_box(SIDE))
    darkness = -video.frames[box].astype(np.float32).mean(axis=(1, 2, 3))
    lips = np.corrcoef(darkness, truth.mouth_opening)[0, 1]
    frozen = np.repeat(truth.frames[:1], FRAMES, axis=0)
    return (
        f"{truth.prompt.timeline(FRAMES / 25)}\n\n"
        f"{out / 'demo.mp4'}, {out / 'demo.png'}\n"
        f"score: mouth follows speech {lips:.2f} (correlation), PSNR {psnr(video.frames, truth.frames):.1f} dB "
        f"(frozen first frame {psnr(frozen, truth.frames):.1f} dB)"
    )


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Decibels between uint8 videos."""
    return float(-10 * np.log10(np.mean((a.astype(np.float32) - b) ** 2) / 255**2))
