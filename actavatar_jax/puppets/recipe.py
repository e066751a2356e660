"""The puppet world end to end: encoders, training data, the three trainings, the decoder's, sampling, scores.

The steps of `launch/puppets.py` and what the demo and the ablation share; a config is that of `configs/puppets.py`.
"""

import dataclasses
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.scores import Report, Truth, score_clips
from actavatar_jax.functional import Params
from actavatar_jax.media import Video
from actavatar_jax.models import GROUP, PRESETS, FrameDecoderConfig, PatchCodec, PatchCodecConfig
from actavatar_jax.pipeline import ActAvatarPipeline
from actavatar_jax.prompt.forms import has_anchors
from actavatar_jax.puppets import dataset
from actavatar_jax.puppets.decoder import Example, train_decoder
from actavatar_jax.puppets.decoder import Settings as DecoderSettings
from actavatar_jax.puppets.growing import grow_folder, sized
from actavatar_jax.puppets.hearing import train_hearing
from actavatar_jax.puppets.judge.network import load_judge
from actavatar_jax.puppets.pictures.sheets import draw_contacts
from actavatar_jax.puppets.progress import Progress, draw_curves, figures_of, read_rows
from actavatar_jax.puppets.widening import widen_code
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


def make_base(config: ConfigDict, folder: Path) -> None:
    """The model folder everything starts from.

    Codec (or the VAE of `config.vae`) and tokenizer of drawn clips, an audio encoder that tells phonemes apart, a
    random text encoder, a random transformer. Its own way of sampling is that of `config.sample`.
    """
    world = World(**config.world)
    clips = draw_clips(world, dataset.TRAIN_SEEDS[: config.codec_clips])
    texts = [dataset.prompt_of(clip, wording).render() for clip in clips for wording in dataset.WORDINGS]
    codec, size = code_of(config), (world.side, world.side)
    vae = folders.load(config.vae, "vae", dtype="float32") if config.vae else None
    preset = PRESETS[config.preset]
    transformer = dataclasses.replace(sized(preset.transformer, **config.network), patch=tuple(config.tokens))
    preset, sizes = dataclasses.replace(preset, transformer=transformer), {"size": size, "num_frames": world.frames}
    with replaced_folder(folder) as partial:
        make_model(partial, (clip.frames for clip in clips), texts, preset=preset, codec=codec, vae=vae, **sizes)
        save_defaults(partial, world, Sampling(**chosen(config.sample)), unseen_portraits(config))
        right = train_hearing(partial, frames=world.frames, **config.hearing)
    log.info("the audio encoder tells %.0f %% of unheard phonemes", 100 * right)


def code_of(config: ConfigDict) -> PatchCodecConfig:
    """The linear code of a config: of differences from the first frame, with bases of its own for every place."""
    c = config.code
    places = (config.world.side // (c.patch * c.reduce),) * 2
    return PatchCodecConfig(c.channels, places, differences=True, patch=c.patch, reduce=c.reduce)


def draw_clips(world: World, seeds: Sequence[int]) -> list[PuppetClip]:
    return list(tqdm(dataset.draw(world, seeds), "drawing", len(seeds)))


def unseen_portraits(config: ConfigDict) -> list[UInt8[np.ndarray, "h w 3"]]:
    clips = dataset.draw(World(**config.world), dataset.WATCHED_SEEDS[: config.watched_clips])
    return [clip.frames[0] for clip in clips]


def take_base(config: ConfigDict, start: Path, folder: Path) -> None:
    """The model folder `start` as the one everything starts from, without its learned decoder, which is trained last.

    Where `config.code` has more channels than its code, code and transformer are widened; where `config.network` has
    more blocks, heads or values in FFNs than its transformer, that is grown. InputError where they have fewer, or
    `start` was made for another world than `config.world`.
    """
    check_world(config, start)
    with replaced_folder(folder) as partial:
        shutil.copytree(start, partial, dirs_exist_ok=True)
        grow_folder(partial, **config.network)
        vae = folders.load(start, "vae", dtype="float32")
        if vae.module is PatchCodec:
            params = {name: part for name, part in vae.params.items() if name != "decoder"}
            folders.save(partial, "vae", dataclasses.replace(vae.config, decoder=None), params)
            if config.code.channels != vae.config.channels:
                world = World(**config.world)
                clips = draw_clips(world, dataset.TRAIN_SEEDS[: config.codec_clips])
                widen_code(partial, (clip.frames for clip in clips), config.code.channels)
                save_defaults(partial, world, Sampling(**chosen(config.sample)), unseen_portraits(config))


def check_world(config: ConfigDict, start: Path) -> None:
    """InputError unless a model folder was made for the config's world."""
    made_for, asked = folders.load_defaults(start).world, dataclasses.asdict(World(**config.world))
    if made_for is None or World.from_dict(made_for) != World.from_dict(asked):
        raise InputError(f"{start} was made for the world {made_for}; the config has {asked}.")


def save_defaults(
    folder: Path, world: World, sampling: Sampling, portraits: Iterable[UInt8[np.ndarray, "h w 3"]]
) -> None:
    """Writes into a model folder what its model is made for: the world, how to sample, and which portraits it knows."""
    encoders = Encoders.from_folder(folder)
    strangest = None
    if encoders.vae.module is PatchCodec:
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
        watch(ActAvatarPipeline(model, Encoders.from_folder(base), folders.load_defaults(base)), step)

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


def run_decoder(config: ConfigDict, model: Path, workdir: Path, start: Path | None = None) -> Path:
    """Trains the learned decoder on what the model folder `model` makes; the folder of the whole, `workdir/model`.

    It goes on from the decoder of the model folder `start`, if that has one of the same form.
    """
    pipeline, world = ActAvatarPipeline.from_pretrained(model), World(**config.world)
    codec = pipeline.encoders.vae
    whole = dataclasses.replace(codec.config, decoder=FrameDecoderConfig(**config.decoder.network))
    watch = Watch(workdir, "decoder", world, config.watched_clips)

    def with_decoder(params: Params) -> Component:
        return Component(PatchCodec, whole, {**codec.params, "decoder": params})

    def look(params: Params, step: int, _: Any) -> None:
        if step % config.decoder.watch_every:
            return
        parts = pipeline.encoders.with_vae(with_decoder(params))
        watch(ActAvatarPipeline(pipeline.transformer, parts, pipeline.defaults), step)

    params = train_decoder(
        whole.decoder,
        lambda first: decoder_examples(pipeline, world, first),
        functional.bind(PatchCodec, codec.config, codec.params).draw_linearly,
        DecoderSettings(**config.decoder.training),
        workdir / "decoder",
        look,
        None if start is None else trained_decoder(start, whole.decoder),
    )
    with replaced_folder(workdir / "model") as partial:
        shutil.copytree(model, partial, dirs_exist_ok=True)
        folders.save(partial, "vae", whole, with_decoder(jax.device_get(params)).params)
    return workdir / "model"


def trained_decoder(folder: Path, config: FrameDecoderConfig) -> Params | None:
    """The learned decoder of a model folder, if it has one of this form."""
    vae = folders.load(folder, "vae", dtype="float32")
    alike = vae.module is PatchCodec and vae.config.decoder == config
    return jax.tree.map(jax.numpy.asarray, vae.params["decoder"]) if alike else None


def decoder_examples(pipeline: ActAvatarPipeline, world: World, first: int) -> Iterator[Example]:
    """Clips that no transformer was trained on, from the one with number `first` on: as drawn, and as the model has
    them."""
    for clip in dataset.draw(world, dataset.DECODER_SEEDS[first:]):
        made, *_ = pipeline.sample_latents(clip.frames[0], clip.audio, clip.prompt, num_frames=len(clip.frames))
        hands, mouth, _ = regions(clip)
        grouped = (part[1:].reshape(-1, GROUP, *part.shape[1:]) for part in (clip.frames, mouth, hands))
        frames, mouth, hands = grouped
        true = pipeline.encoders.video(clip.frames)
        yield Example(first=clip.frames[0], frames=frames, made=made[1:], true=true[1:], mouth=mouth, hands=hands)


class Watch:
    """Makes the same few unseen clips again and again while a model trains: a sheet, and a line of figures."""

    def __init__(self, workdir: Path, stage: str, world: World, clips: int):
        self.workdir, self.stage, self.world = workdir, stage, world
        self.seeds = dataset.WATCHED_SEEDS[:clips]
        self.log = workdir / "progress.jsonl"

    def __call__(self, pipeline: ActAvatarPipeline, step: int) -> None:
        pairs = list(sample_clips(pipeline, self.world, self.seeds))
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
