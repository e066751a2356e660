"""The puppet world end to end: encoders, training data, the three trainings, the decoder's, sampling, scores.

The steps of `launch/puppets.py` and what the demo and the ablation share; a config is that of `configs/puppets.py`.
"""

import dataclasses
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import UInt8
from ml_collections import ConfigDict
from tqdm import tqdm

from actavatar_jax import functional
from actavatar_jax.diffusion import Sampling
from actavatar_jax.encoders import Encoders
from actavatar_jax.encoders.pictures import decode_video, encode_video
from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.scores import Report, Truth, score_clips
from actavatar_jax.functional import Params
from actavatar_jax.media import Video
from actavatar_jax.models import GROUP, PRESETS, PatchCodec, PatchCodecConfig
from actavatar_jax.models.motion import MotionCodec, MotionCodecConfig, MotionDecoderConfig
from actavatar_jax.models.patch_codec import fit_first_frames
from actavatar_jax.pipeline import ActAvatarPipeline
from actavatar_jax.prompt.forms import has_anchors
from actavatar_jax.puppets import dataset
from actavatar_jax.puppets.codec import Example, train_codec
from actavatar_jax.puppets.codec import Settings as CodecSettings
from actavatar_jax.puppets.hearing import train_hearing
from actavatar_jax.puppets.judge.network import load_judge
from actavatar_jax.puppets.pictures.sheets import draw_contacts
from actavatar_jax.puppets.progress import Progress, draw_curves, figures_of, read_rows
from actavatar_jax.puppets.world.clips import PuppetClip, World
from actavatar_jax.puppets.world.regions import regions
from actavatar_jax.runs import training
from actavatar_jax.runs.exporting import export_model
from actavatar_jax.runs.settings import chosen, transformer_network
from actavatar_jax.runs.small_world import make_model
from actavatar_jax.storage import replaced_folder
from actavatar_jax.weights import COMPONENTS, Component, find
from actavatar_jax.weights import folder as folders

log = logging.getLogger(__name__)

Frames = UInt8[np.ndarray, "F h w 3"]
STAGES = ("backbone", "stage1", "stage2")
SHIPPED = Path(__file__).with_name("assets") / "model"
FOREIGN = 4.0  # times as strange as the strangest of some drawn portraits another one may be
SHOWN = 6  # clips on a sheet
MOST_BYTES = 40_000_000  # of the shipped folder; of a single file half


def make_codec(config: ConfigDict, workdir: Path) -> Path | None:
    """Trains the code of what moves; the folder of its `vae`, or None where the base fits a linear code."""
    if config.vae:
        return Path(config.vae)
    if config.code == "linear":
        return None
    made, fresh, world = workdir / "codec" / "model", workdir / "codec" / "start", World(**config.world)
    if made.exists():
        return made
    if not fresh.exists():
        with replaced_folder(fresh) as partial:
            folders.save(partial, "vae", *new_motion_codec(config, world))
    start, watch = folders.load(fresh, "vae", dtype="float32"), Watch(workdir, "codec", world, config.watched_clips)

    def look(params: Params, step: int, _: Any) -> None:
        if step % config.motion.watch_every == 0:
            watch(lambda clip: coded(start.network, params, clip.frames), step)

    settings = CodecSettings(**config.motion.training)
    params = train_codec(
        start.config,
        start.params,
        ("encoder", "decoder"),
        lambda first: codec_examples(world, first),
        settings,
        workdir / "codec",
        look,
    )
    with replaced_folder(made) as partial:
        folders.save(partial, "vae", start.config, params)
    return made


def new_motion_codec(config: ConfigDict, world: World) -> tuple[MotionCodecConfig, Params]:
    """A codec whose code of frame 0 is fitted; its networks are new."""
    decoder = MotionDecoderConfig(**config.motion.decoder)
    codec = MotionCodecConfig(**{**config.motion.encoder, "decoder": decoder})
    draw = jax.jit(functional.init, static_argnums=(0, 1), compiler_options=functional.RUN_ONCE)
    params = jax.device_get(draw(MotionCodec, codec, functional.random_key(config.motion.training.get("seed", 0))))
    seeds = tqdm(dataset.TRAIN_SEEDS[: config.codec_clips], "drawing", unit="clip")
    clips = (clip.frames.astype(np.float32) / 127.5 - 1 for clip in dataset.draw(world, seeds))
    return codec, {**params, "first": fit_first_frames(clips, codec.first)}


def codec_examples(world: World, first: int) -> Iterator[Example]:
    """Clips from the one with number `first` on, as drawn."""
    for clip in dataset.draw(world, dataset.TRAIN_SEEDS[first:]):
        yield example(clip)


def example(clip: PuppetClip, **latents: Any) -> Example:
    hands, mouth, _ = regions(clip)
    frames, mouth, hands = (part[1:].reshape(-1, GROUP, *part.shape[1:]) for part in (clip.frames, mouth, hands))
    return Example(first=clip.frames[0], frames=frames, mouth=mouth, hands=hands, **latents)


def coded(network: functional.Network, params: Params, frames: Frames) -> Frames:
    """Frames that went through a codec and back."""
    return np.asarray(decode_video(network, params, encode_video(network, params, frames), frames[0]))


def make_base(config: ConfigDict, vae: Path | None, folder: Path) -> None:
    """The model folder everything starts from.

    The codec of the folder `vae`, or a linear code fitted on drawn clips; a tokenizer of their texts, an audio encoder
    that tells phonemes apart, a random text encoder, a random transformer. Its own way of sampling is that of
    `config.sample`.
    """
    world = World(**config.world)
    clips = list(tqdm(dataset.draw(world, dataset.TRAIN_SEEDS[: config.codec_clips]), "drawing", config.codec_clips))
    texts = [dataset.prompt_of(clip, wording).render() for clip in clips for wording in dataset.WORDINGS]
    c, size = config.linear, (world.side, world.side)
    places = (world.side // (c.patch * c.reduce),) * 2
    codec = PatchCodecConfig(c.channels, places, differences=True, patch=c.patch, reduce=c.reduce)
    vae = folders.load(vae, "vae", dtype="float32") if vae else None
    preset = PRESETS[config.preset]
    transformer = dataclasses.replace(preset.transformer, patch=tuple(config.tokens))
    preset, sizes = dataclasses.replace(preset, transformer=transformer), {"size": size, "num_frames": world.frames}
    with replaced_folder(folder) as partial:
        make_model(partial, (clip.frames for clip in clips), texts, preset=preset, codec=codec, vae=vae, **sizes)
        unseen = dataset.draw(world, dataset.WATCHED_SEEDS[: config.watched_clips])
        save_defaults(partial, world, Sampling(**chosen(config.sample)), [clip.frames[0] for clip in unseen])
        right = train_hearing(partial, frames=world.frames, **config.hearing)
    log.info("the audio encoder tells %.0f %% of unheard phonemes", 100 * right)


def take_base(config: ConfigDict, start: Path, folder: Path) -> None:
    """The model folder `start` as the one everything starts from.

    InputError where it was made for another world than `config.world`.
    """
    made_for, asked = folders.load_defaults(start).world, dataclasses.asdict(World(**config.world))
    if made_for is None or World.from_dict(made_for) != World.from_dict(asked):
        raise InputError(f"{start} was made for the world {made_for}; the config has {asked}.")
    with replaced_folder(folder) as partial:
        shutil.copytree(start, partial, dirs_exist_ok=True)


def save_defaults(
    folder: Path, world: World, sampling: Sampling, portraits: Iterable[UInt8[np.ndarray, "h w 3"]]
) -> None:
    """Writes into a model folder what its model is made for: the world, how to sample, and which portraits it knows."""
    encoders = Encoders.from_folder(folder)
    strangest = None
    if encoders.vae.module in (PatchCodec, MotionCodec):
        strangest = round(FOREIGN * max(encoders.strangeness(encoders.video(one[None])) for one in portraits), 1)
    defaults = dataclasses.replace(
        folders.load_defaults(folder),
        sampling=sampling,
        sizes=((world.side, world.side),),
        lengths=(world.frames,),
        strangest_portrait=strangest,
        world=dataclasses.asdict(world),
    )
    folders.save_index(folder, defaults)


def make_data(config: ConfigDict, base: Path, folder: Path) -> None:
    """Encoded clips with the texts that the stages read; nothing where clips are drawn on the fly."""
    if not config.fresh:
        seeds, texts = dataset.TRAIN_SEEDS[: config.clips], dict.fromkeys(texts_of(config[s], base) for s in STAGES)
        dataset.write_shards(folder, Encoders.from_folder(base), World(**config.world), seeds, texts)


def texts_of(settings: ConfigDict, start: Path) -> str:
    """The one of `dataset.TEXTS` that a training from the model folder `start` reads."""
    form = transformer_network(settings, find(start, "transformer").config).config.phase_time
    return dataset.texts_of(settings.data.wording, has_anchors(form))


def run_stage(name: str, config: ConfigDict, start: Path, workdir: Path) -> Path:
    """The training `name` of `STAGES`, from the model folder `start`; the folder of its result.

    Every `sample.every` steps unseen clips are made and judged: `workdir/progress.jsonl` and `workdir/sheets`.
    """
    settings, base = config[name], workdir / "base"
    watch = Watch(workdir, name, World(**config.world), config.watched_clips)

    def look(params: Params, step: int) -> None:
        transformer = find(base, "transformer").config
        model = Component.of(transformer_network(settings, transformer), params)
        pipeline = ActAvatarPipeline(model, Encoders.from_folder(base), folders.load_defaults(base))
        watch(lambda clip: sample_clip(pipeline, clip).frames, step)

    return train_stage(settings, start, workdir / "shards", workdir / name, look)


def train_stage(
    settings: ConfigDict, start: Path, shards: Path, workdir: Path, watch: Callable[[Params, int], None] | None = None
) -> Path:
    """One training from the model folder `start`; the folder of its result. `watch` is called as sampling would be."""
    settings = settings.copy_and_resolve_references()
    with settings.unlocked():
        settings.model.folder = str(start)
        if settings.data.source == "shards":
            settings.data.dirs = (str(shards / texts_of(settings, start)),)
    training.run_training(settings, workdir, watch, dataset.SOURCES)
    model, adapter = workdir / "model", workdir / "adapter.safetensors"
    if adapter.exists() and not model.exists():
        export_model(start, model, adapter)
    return model


def run_decoder(config: ConfigDict, model: Path, workdir: Path) -> Path:
    """Trains the decoder on, on what the model folder `model` makes; the folder of the whole, `workdir/model`."""
    pipeline, world = ActAvatarPipeline.from_pretrained(model), World(**config.world)
    codec, watch = pipeline.encoders.vae, Watch(workdir, "decoder", world, config.watched_clips)

    def look(params: Params, step: int, _: Any) -> None:
        if step % config.decoder.watch_every == 0:
            parts = pipeline.encoders.with_vae(dataclasses.replace(codec, params=params))
            new = ActAvatarPipeline(pipeline.transformer, parts, pipeline.defaults)
            watch(lambda clip: sample_clip(new, clip).frames, step)

    params = train_codec(
        codec.config,
        codec.params,
        ("decoder",),
        lambda first: decoder_examples(pipeline, world, first),
        CodecSettings(**config.decoder.training),
        workdir / "decoder",
        look,
    )
    with replaced_folder(workdir / "model") as partial:
        shutil.copytree(model, partial, dirs_exist_ok=True)
        folders.save(partial, "vae", codec.config, params)
    return workdir / "model"


def decoder_examples(pipeline: ActAvatarPipeline, world: World, first: int) -> Iterator[Example]:
    """Clips that no transformer was trained on, from the one with number `first` on: as drawn, and as the model has
    them."""
    for clip in dataset.draw(world, dataset.DECODER_SEEDS[first:]):
        made, *_ = pipeline.sample_latents(clip.frames[0], clip.audio, clip.prompt, num_frames=len(clip.frames))
        yield example(clip, made=made[1:], true=pipeline.encoders.video(clip.frames)[1:])


class Watch:
    """Makes the same few unseen clips again and again while a model trains: a sheet, and a line of figures."""

    def __init__(self, workdir: Path, stage: str, world: World, clips: int):
        self.workdir, self.stage, self.world = workdir, stage, world
        self.seeds = dataset.WATCHED_SEEDS[:clips]
        self.log = workdir / "progress.jsonl"

    def __call__(self, make: Callable[[PuppetClip], Frames], step: int) -> None:
        """`make` is given the clips as drawn."""
        pairs = [
            (clip, make(clip)) for clip in tqdm(list(dataset.draw(self.world, self.seeds)), "looking", unit="clip")
        ]
        sheet = self.workdir / "sheets" / f"{self.stage}-{step:06d}.png"
        sheet.parent.mkdir(parents=True, exist_ok=True)
        draw_contacts(sheet, [(clip.frames, frames) for clip, frames in pairs[:SHOWN]])
        Progress(self.log).add(self.stage, step, **figures_of(score(pairs)))
        draw_curves(read_rows(self.log), self.workdir / "progress.png")


def sample_clip(
    pipeline: ActAvatarPipeline, clip: PuppetClip, wording: str = "structured", sampling: Sampling | None = None
) -> Video:
    """What the model makes of a drawn clip's first frame, speech and prompt; without `sampling`, in its own way."""
    prompt = dataset.prompt_of(clip, wording)
    return pipeline(clip.frames[0], clip.audio, prompt, sampling, num_frames=len(clip.frames))


def sample_clips(
    pipeline: ActAvatarPipeline,
    world: World,
    seeds: Iterable[int],
    sampling: Sampling | None = None,
    wording: str = "structured",
) -> Iterator[tuple[PuppetClip, Frames]]:
    """The clips of `seeds` as drawn, each with what the model makes of it."""
    for clip in tqdm(list(dataset.draw(world, seeds)), "sampling", unit="clip"):
        yield clip, sample_clip(pipeline, clip, wording, sampling).frames


def evaluate(
    pipeline: ActAvatarPipeline,
    world: World,
    seeds: Iterable[int],
    sampling: Sampling | None = None,
    wording: str = "structured",
) -> Report:
    """Samples the clips of `seeds`, in the model's own way if `sampling` is not given, and judges their pixels."""
    return score(sample_clips(pipeline, world, seeds, sampling, wording))


def score_codec(encoders: Encoders, world: World, seeds: Iterable[int]) -> Report:
    """The scores of drawn clips that went through the codec and back: what it costs, whatever model is behind it."""
    clips = dataset.draw(world, seeds)
    return score((clip, encoders.decode(encoders.video(clip.frames), clip.frames[0])) for clip in clips)


def score(pairs: Iterable[tuple[PuppetClip, Frames]]) -> Report:
    """Judges frames that stand for drawn clips, from their pixels."""
    judge, judged, truths = load_judge(), [], []
    for clip, frames in pairs:
        judged.append(judge(frames))
        truths.append(Truth(clip.cues, clip.opening, (frames, clip.frames), regions(clip)._asdict()))
    return score_clips(judged, truths)


def ship(model: Path) -> None:
    """Puts a model folder where `actavatar demo` and its users find it, `SHIPPED` of this package: in bfloat16, but for
    what stays in float32."""
    with replaced_folder(SHIPPED) as partial:
        shutil.copytree(model, partial, dirs_exist_ok=True)
        for name in COMPONENTS:
            part = folders.load(model, name, dtype="bfloat16")
            folders.save(partial, name, part.config, part.params)
        sizes = [path.stat().st_size for path in partial.rglob("*") if path.is_file()]
        if sum(sizes) > MOST_BYTES or max(sizes) > MOST_BYTES // 2:
            limit = f"a shipped model has at most {MOST_BYTES / 1e6:.0f} MB, half of it in one file"
            raise InputError(f"{model} has {sum(sizes) / 1e6:.0f} MB in bfloat16; {limit}.")
