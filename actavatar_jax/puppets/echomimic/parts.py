"""The parts of a small EchoMimic: frozen ones in a model folder, and its transformer beside them.

The folder is that of the other puppets (`recipe.make_base`), but for a code of fewer channels. CLIP is no part of it:
its weights are random, drawn by a fixed seed.
"""

import shutil
from pathlib import Path

from ml_collections import ConfigDict

from actavatar_jax import functional
from actavatar_jax.echomimic import (
    EchoMimicConfig,
    EchoMimicDiT,
    EchoMimicEncoders,
    EchoMimicPipeline,
    open_transformer,
    read_config,
    write_transformer,
)
from actavatar_jax.encoders import Encoders
from actavatar_jax.models import Execution, fit_patch_codec
from actavatar_jax.models.clip import CLIPVision, CLIPVisionConfig
from actavatar_jax.puppets import dataset
from actavatar_jax.puppets import recipe as puppets
from actavatar_jax.puppets.world.clips import World
from actavatar_jax.runs.small_world import to_pixels
from actavatar_jax.storage import replaced_folder
from actavatar_jax.weights import Component
from actavatar_jax.weights import folder as folders

VARIANT = "preview"  # the paper's model


def make_base(config: ConfigDict, folder: Path, start: Path | None = None) -> None:
    """The folder of the frozen parts; all but the code is that of `start`, if given. Nothing where it is there.

    Raises InputError where `start` was made for another world than `config.world`.
    """
    if folder.is_dir():
        return
    if start is None:
        return puppets.make_base(config.base, folder)
    puppets.check_world(config.base, start)
    clips = puppets.draw_clips(World(**config.world), dataset.TRAIN_SEEDS[: config.base.codec_clips])
    code = puppets.code_of(config.base)
    with replaced_folder(folder) as partial:
        shutil.copytree(start, partial, dirs_exist_ok=True)
        folders.save(partial, "vae", code, fit_patch_codec([to_pixels(clip.frames) for clip in clips], code))


def open_encoders(config: ConfigDict, base: Path) -> EchoMimicEncoders:
    """The frozen parts of the folder `base`."""
    parts, clip = Encoders.from_folder(base), CLIPVisionConfig(**config.picture)
    picture = Component(CLIPVision, clip, functional.init(CLIPVision, clip, functional.random_key(0)), Execution())
    frozen = parts.text_encoder, picture, parts.audio_encoder, parts.vae
    return EchoMimicEncoders(parts.tokenizer, *frozen, VARIANT, text_len=config.network.text_len)


def write_start(config: ConfigDict, base: Path, folder: Path) -> Path:
    """The folder of a transformer with random weights that fits the parts in `base`; it hears nothing yet."""
    if not folder.is_dir():
        parts = open_encoders(config, base)
        channels, clip = parts.vae.config.latent_channels, parts.image_encoder.config
        network = EchoMimicConfig(
            variant=VARIANT,
            in_channels=2 * channels + 4,
            out_channels=channels,
            text_dim=parts.text_encoder.config.width,
            image_dim=clip.width,
            image_tokens=clip.tokens,
            audio_dim=parts.audio_encoder.config.hidden,
            **{**config.network, "patch": tuple(config.network.patch)},
        )
        write_transformer(folder, network, functional.init(EchoMimicDiT, network, functional.random_key(0)))
    return folder


def open_pipeline(encoders: EchoMimicEncoders, model: Path) -> EchoMimicPipeline:
    """The transformer of the folder `model` with its frozen parts."""
    config = read_config(model, VARIANT)
    params = open_transformer(model, None, config).read()
    return EchoMimicPipeline(Component(EchoMimicDiT, config, params, Execution(dtype="float32")), encoders)
