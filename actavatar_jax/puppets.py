"""The puppet world end to end: encoders, training data, the three trainings, sampling, scores.

The steps of `launch/puppets.py` and what the demo and the ablation share; a config is that of `configs/puppets.py`.
"""

import json
import logging
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
from tqdm import tqdm

from actavatar_jax import experiment
from actavatar_jax.encoders import Encoders
from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.puppet_judge import load_judge
from actavatar_jax.evaluation.scores import Report, Truth, score_clips
from actavatar_jax.media import Video
from actavatar_jax.models.patch_codec import PatchCodecConfig
from actavatar_jax.models.presets import PRESETS
from actavatar_jax.pipeline import ActAvatarPipeline
from actavatar_jax.weights import folder as folders
from actavatar_jax.weights.components import COMPONENTS
from actavatar_jax.weights.files import replaced_folder
from data_pipelines.puppets import dataset
from data_pipelines.puppets.clips import PuppetClip, World
from data_pipelines.puppets.hearing import train_hearing
from data_pipelines.small_world import make_model

log = logging.getLogger(__name__)

SAMPLING = {"steps": 24, "solver": "unipc", "shift": 3.0, "text_guidance": 2.0, "audio_guidance": 2.0}
STAGES = ("backbone", "stage1", "stage2")
SHIPPED = Path(__file__).with_name("assets") / "puppets"
MOST_BYTES = 40_000_000  # of the shipped folder; of a single file half


def make_base(config: ConfigDict, folder: Path) -> None:
    """The model folder everything starts from.

    Codec (or the VAE of `config.vae`) and tokenizer of drawn clips, an audio encoder that tells phonemes apart, a
    random text encoder, a random transformer.
    """
    world = World(**config.world)
    clips = list(tqdm(dataset.draw(world, dataset.TRAIN_SEEDS[: config.codec_clips]), "drawing", config.codec_clips))
    texts = [dataset.prompt_of(clip, wording).render() for clip in clips for wording in dataset.WORDINGS]
    frames = (clip.frames for clip in clips)
    size, places = (world.side, world.side), (world.side // 16, world.side // 16)
    codec = PatchCodecConfig(PRESETS[config.preset].transformer.in_channels, places, differences=True)
    vae = folders.load(config.vae, "vae", dtype="float32") if config.vae else None
    sizes = {"size": size, "num_frames": world.frames}
    with replaced_folder(folder) as partial:
        make_model(partial, frames, texts, preset=config.preset, codec=codec, vae=vae, **sizes)
        right = train_hearing(partial, frames=world.frames, **config.hearing)
    log.info("the audio encoder tells %.0f %% of unheard phonemes", 100 * right)


def make_data(config: ConfigDict, base: Path, folder: Path) -> None:
    """Encoded clips with global and with structured prompts; nothing where clips are drawn on the fly."""
    if not config.fresh:
        seeds = dataset.TRAIN_SEEDS[: config.clips]
        dataset.write_shards(folder, Encoders.from_folder(base), World(**config.world), seeds, ("global", "structured"))


def run_stage(settings: ConfigDict, start: Path, shards: Path, workdir: Path) -> Path:
    """One of the trainings, from the model folder `start`; the folder of its result."""
    settings = settings.copy_and_resolve_references()
    with settings.unlocked():
        settings.model.folder = str(start)
        if settings.data.source == "shards":
            settings.data.dirs = (str(shards / settings.data.wording),)
    experiment.run(settings, workdir)
    return workdir / "model"


def sample_clip(pipeline: ActAvatarPipeline, clip: PuppetClip, wording: str, options: Mapping[str, Any]) -> Video:
    """What the model makes of a drawn clip's first frame, speech and prompt."""
    prompt = dataset.prompt_of(clip, wording)
    return pipeline(clip.frames[0], clip.audio, prompt, num_frames=len(clip.frames), **options)


def evaluate(
    pipeline: ActAvatarPipeline, world: World, seeds: Iterable[int], options: Mapping[str, Any], wording="structured"
) -> Report:
    """Samples the clips of `seeds` and judges them from their pixels."""
    judge, judged, truths = load_judge(), [], []
    for clip in tqdm(list(dataset.draw(world, seeds)), "sampling", unit="clip"):
        video = sample_clip(pipeline, clip, wording, options)
        judged.append(judge(video.frames))
        truths.append(Truth(clip.cues, clip.opening, (video.frames, clip.frames)))
    return score_clips(judged, truths)


def ceiling(encoders: Encoders, world: World, seeds: Iterable[int]) -> Report:
    """The scores of drawn clips that went through the codec and back: no model behind it can do better."""
    judge, judged, truths = load_judge(), [], []
    for clip in dataset.draw(world, seeds):
        frames = encoders.decode(encoders.video(clip.frames))
        judged.append(judge(frames))
        truths.append(Truth(clip.cues, clip.opening, (frames, clip.frames)))
    return score_clips(judged, truths)


def ship(model: Path) -> None:
    """Puts a model folder, in bfloat16, where `actavatar demo` and its users find it: `SHIPPED` of this package."""
    with replaced_folder(SHIPPED) as partial:
        shutil.copytree(model, partial, dirs_exist_ok=True)
        for name in COMPONENTS:
            part = folders.load(model, name, dtype="bfloat16")
            folders.save(partial, name, part.config, part.params)
        sizes = [path.stat().st_size for path in partial.rglob("*") if path.is_file()]
        if sum(sizes) > MOST_BYTES or max(sizes) > MOST_BYTES // 2:
            limit = f"a shipped model has at most {MOST_BYTES / 1e6:.0f} MB, half of it in one file"
            raise InputError(f"{model} has {sum(sizes) / 1e6:.0f} MB in bfloat16; {limit}.")


def save_report(report: Report, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(report.to_dict(), indent=1) + "\n")
    part.replace(path)
