"""A fresh model folder for a small world: random transformer and encoders, tokenizer and codec fitted on its clips."""

import dataclasses
import math
from collections.abc import Iterable
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float32, UInt8

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.media import load_video
from actavatar_jax.media.clock import floor_frames
from actavatar_jax.models import PRESETS, PatchCodec, PatchCodecConfig, Preset, UMT5Encoder, Wav2Vec2, fit_patch_codec
from actavatar_jax.models.avatar import ActAvatarDiT
from actavatar_jax.prompt import StructuredPrompt
from actavatar_jax.prompt.tokenizer import fit_tokenizer
from actavatar_jax.weights import folder as folders
from data_pipelines.table import clip_path, read_manifest


def init_model(
    clip_dir: str | Path,
    model_dir: str | Path,
    *,
    preset: str = "small",
    channels: int | None = None,
    size: tuple[int, int] = (128, 128),
    num_frames: int = 49,
    max_clips: int = 64,
    seed: int = 0,
) -> None:
    """Writes a model folder for training from scratch on the clips of a finished `prepare`.

    The codec is fitted on at most `max_clips` clips resized to `size` (height, width), the tokenizer on all prompts;
    the rest is `make_model`'s.
    """
    clip_dir = Path(clip_dir)
    found = [clip for clip in read_manifest(clip_dir) if clip_path(clip, clip_dir).is_file()]
    if not found:
        raise InputError(f"{clip_dir}: the manifest has no usable clip; run `actavatar prepare` first.")
    clips = (load_video(clip_path(clip, clip_dir), size=size).frames for clip in found[:max_clips])
    prompts = [StructuredPrompt.load(p) for p in sorted((clip_dir / "clips").rglob("[!.]*.json"))]
    texts = [prompt.render() for prompt in prompts] or ["A person speaking"]
    codec = PatchCodecConfig(channels or PRESETS[preset].transformer.in_channels)
    make_model(
        model_dir, clips, texts, preset=PRESETS[preset], codec=codec, size=size, num_frames=num_frames, seed=seed
    )


def make_model(
    model_dir: str | Path,
    clips: Iterable[UInt8[np.ndarray, "F h w 3"]],
    texts: Iterable[str],
    *,
    preset: Preset,
    codec: PatchCodecConfig | None = None,
    vae: folders.Component | None = None,
    size: tuple[int, int],
    num_frames: int,
    seed: int = 0,
) -> None:
    """Writes a model folder for training from scratch: a PatchCodec (plain if `codec` does not say otherwise) fitted on
    `clips`, or the given `vae` in its place; a tokenizer fitted on `texts`.

    The text and audio encoders are random and stay so (frozen random features are enough for a world with a few dozen
    words and voices); the transformer is the preset's, with the codec's latent channels. `size` and
    `num_frames` become the folder's defaults for sampling.
    """
    codec = codec or PatchCodecConfig(preset.transformer.in_channels)
    channels = vae.config.latent_channels if vae else codec.channels
    width, cells = preset.transformer.width, math.prod(preset.transformer.patch)
    if width <= cells * channels and not preset.transformer.linear_guess:
        raise InputError(
            f"{channels} channels are too many for a transformer that is {width} wide: a token's noise is {cells} x "
            f"channels numbers; at most {(width - 1) // cells} fit."
        )
    keys = jax.random.split(functional.random_key(seed), 3)

    if vae is None:
        vae = folders.Component(PatchCodec, codec, fit_patch_codec([to_pixels(clip) for clip in clips], codec))
    folders.save(model_dir, "vae", vae.config, vae.params)
    tokenizer = fit_tokenizer(texts, vocab_size=preset.text_encoder.vocab_size)
    tokenizer.save(Path(model_dir) / "tokenizer")

    transformer = dataclasses.replace(preset.transformer, in_channels=channels, out_channels=channels)
    fresh = {
        "transformer": (ActAvatarDiT, transformer, keys[0]),
        "text_encoder": (UMT5Encoder, preset.text_encoder, keys[1]),
        "audio_encoder": (Wav2Vec2, preset.audio_encoder, keys[2]),
    }
    for name, (module, config, key) in fresh.items():
        draw = jax.jit(functional.init, static_argnums=(0, 1), compiler_options=functional.RUN_ONCE)
        params = draw(module, config, key)
        folders.save(model_dir, name, config, params)
    folders.save_index(model_dir, folders.Defaults(num_frames=num_frames, area=size[0] * size[1], negative_prompt=""))


def to_pixels(frames: UInt8[np.ndarray, "F h w 3"]) -> Float32[np.ndarray, "_ h w 3"]:
    """A clip as codes are fitted on: in [-1, 1], cut to 4k+1 frames."""
    return frames[: floor_frames(len(frames))].astype(np.float32) / 127.5 - 1
