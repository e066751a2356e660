"""Three real clips, from their files to scored samples; launch command in configs/overfit.py.

Prepares the clips, makes a small model folder, encodes, trains the backbone and then the adapter (all resumable),
samples each scored window from its first frame, speech and prompt, and again with the other clips' speech, and prints
what was reached. Pictures and
videos go to WORKDIR/samples.
"""

import json
import shutil
from pathlib import Path

import numpy as np
from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]

CONFIG = config_flags.DEFINE_config_file("config", str(ROOT / "configs" / "overfit.py"), "Config file.")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of this run.", required=True)
VIDEOS = flags.DEFINE_string("videos", None, "Folder with the videos that config.clips.scored names.", required=True)


def main(argv: list[str]) -> None:
    logging.set_verbosity(logging.WARNING)  # the checkpoint library reports every step of its own at INFO
    from actavatar_jax.encoders import Encoders
    from actavatar_jax.runs import training
    from actavatar_jax.runs.exporting import export_model
    from actavatar_jax.runs.small_world import init_model
    from data_pipelines.clips import prepare_clips
    from data_pipelines.shards import encode_clips

    config, workdir = CONFIG.value, Path(WORKDIR.value)
    clips, side = config.clips, config.clips.side
    collect(Path(VIDEOS.value), workdir / "videos", clips)
    print(prepare_clips(workdir / "videos", workdir / "clips", min_frames=clips.frames, min_side=side))
    if not (workdir / "base" / "model_index.json").exists():
        init_model(
            workdir / "clips", workdir / "base", channels=clips.channels, size=(side, side), num_frames=clips.frames
        )
    encoders = Encoders.from_folder(workdir / "base")
    sizes = f"{side}x{side}"
    print(
        encode_clips(
            workdir / "clips",
            workdir / "shards",
            encoders,
            frames=clips.frames,
            buckets=sizes,
            stride_frames=clips.stride,
        )
    )
    with config.unlocked():
        config.data.dirs = (str(workdir / "shards"),)
        deaf = config.copy_and_resolve_references()
        deaf.model.folder, deaf.steps, deaf.rules = str(workdir / "base"), config.backbone_steps, config.backbone_rules
        deaf.data.text_drop, deaf.data.audio_drop, deaf.data.both_drop = 0.0, 0.9, 0.1
        config.model.folder = str(workdir / "backbone" / "model")
    training.run_training(training_part(deaf), workdir / "backbone")
    training.run_training(training_part(config), workdir)
    if not (workdir / "model").exists():
        export_model(workdir / "backbone" / "model", workdir / "model", workdir / "adapter.safetensors")
    score(config, workdir)


def training_part(config: ConfigDict) -> ConfigDict:
    """The settings of a training alone, without those of this program."""
    part = config.copy_and_resolve_references()
    with part.unlocked():
        for name in ("clips", "backbone_steps", "backbone_rules"):
            del part[name]
    return part


def collect(videos: Path, folder: Path, clips) -> None:
    """Copies the named videos, each with its prompt beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for stem, (prompt, _, _) in clips.scored.items():
        (source,) = videos.glob(f"{stem}.*")
        shutil.copy(source, folder)
        (folder / f"{stem}.txt").write_text(prompt)


def score(config, workdir: Path) -> None:
    """Samples every scored window, prints its figures, and writes them to WORKDIR/scores.json."""
    from actavatar_jax import ActAvatarPipeline
    from actavatar_jax.media import SAMPLES_PER_FRAME, contact_sheet, load_video, psnr
    from actavatar_jax.runs.settings import chosen
    from actavatar_jax.storage import write_json

    clips, options = config.clips, chosen(config.sample)
    pipeline = ActAvatarPipeline.from_pretrained(workdir / "model")
    out = workdir / "samples"
    out.mkdir(exist_ok=True)
    windows = {}
    for stem, (prompt, start, mouth) in clips.scored.items():
        (path,) = (workdir / "clips" / "clips").glob(f"{stem}*.mp4")
        video = load_video(path, size=(clips.side, clips.side))
        end = start + clips.frames
        speech = video.audio[start * SAMPLES_PER_FRAME : end * SAMPLES_PER_FRAME]
        windows[stem] = (video.frames[start:end], speech, prompt, mouth)

    scores = {}
    for stem, (real, _, prompt, (left, top, right, bottom)) in windows.items():

        def make(speech, real=real, prompt=prompt):
            return pipeline(real[0], speech, prompt, **options)

        own = make(windows[stem][1])
        own.save(out / f"{stem}.mp4")
        codec = pipeline.encoders.decode(np.asarray(pipeline.encoders.video(real)))
        mouth = np.zeros(real.shape[1:3], bool)
        mouth[top:bottom, left:right] = True
        ratios = {}
        for other in windows:
            if other == stem:
                continue
            swapped = make(windows[other][1])
            swapped.save(out / f"{stem}_speech_of_{other}.mp4")
            change = np.abs(swapped.frames.astype(float) - own.frames).mean(axis=(0, 3))
            ratios[other] = change[mouth].mean() / change[~mouth].mean()
        frozen = np.repeat(real[:1], len(real), axis=0)
        scores[stem] = {
            "psnr": psnr(own.frames, real),
            "psnr_frozen_first_frame": psnr(frozen, real),
            "psnr_codec": psnr(codec, real),
            "mouth_change_over_rest": ratios,
        }
        every = range(0, len(real), 6)
        rows = np.concatenate([real[every], own.frames[every], swapped.frames[every]])
        labels = [f"{kind} {i / 25:.1f}s" for kind in ("real", "sampled", "other speech") for i in every]
        sheet = contact_sheet(rows, columns=len(every), labels=labels)
        Image.fromarray(sheet).save(out / f"{stem}.png")
        print(stem, json.dumps(scores[stem]), flush=True)
    write_json(workdir / "scores.json", scores)


if __name__ == "__main__":
    app.run(main)
