"""A model folder's code with more numbers a place, and its transformer that reads and writes them.

Nothing that was learned is lost: the first numbers mean what they did, and of the others the transformer says nothing
until it is trained on.
"""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.models import PatchCodec
from actavatar_jax.models.patch_codec import widen_patch_codec
from actavatar_jax.runs.small_world import to_pixels
from actavatar_jax.weights import Component
from actavatar_jax.weights import folder as folders


def widen_code(folder: Path, clips: Iterable[UInt8[np.ndarray, "F h w 3"]], channels: int) -> None:
    """Gives the code in `folder` further components, of `clips`, until it has `channels`; and its transformer as many.

    InputError where the code has more, or is of another kind.
    """
    vae, transformer = (folders.load(folder, name, dtype="float32") for name in ("vae", "transformer"))
    if vae.module is not PatchCodec or channels < vae.config.channels:
        has = f"{vae.config.channels} channels" if vae.module is PatchCodec else "another kind of VAE"
        raise InputError(f"The code in {folder} cannot be widened to {channels} channels: it has {has}.")
    config = dataclasses.replace(vae.config, channels=channels)
    pixels = [to_pixels(clip) for clip in clips]
    wide = Component(PatchCodec, config, {**vae.params, **widen_patch_codec(vae.params, pixels, config)})
    encode = functional.bind(PatchCodec, config, jax.tree.map(jnp.asarray, wide.params)).encode
    latents = np.concatenate([np.asarray(encode(jnp.asarray(clip[None])))[0, 1:] for clip in pixels])
    variance = latents.var(axis=(0, 1, 2))
    folders.save(folder, "vae", wide.config, wide.params)
    wider = widen_transformer(transformer, variance[vae.config.channels :])
    folders.save(folder, "transformer", wider.config, wider.params)


def widen_transformer(transformer: Component, variance: Float[np.ndarray, "further"]) -> Component:
    """The transformer with further latent channels, of such variances: it does not look at them, and guesses zero."""
    flat, further = functional.flatten(transformer.params), len(variance)
    old = transformer.config
    config = dataclasses.replace(old, in_channels=old.in_channels + further, out_channels=old.out_channels + further)
    cells, ends = old.patch[1] * old.patch[2], ((0, 0), (0, further))
    kernel = flat["patch_embedding/kernel"]  # rows (channel, row, column), see `models.avatar.positions`
    flat["patch_embedding/kernel"] = np.pad(kernel, ((0, further * cells), (0, 0)))
    for name in ("head/out/kernel", "head/out/bias"):  # columns (row, column, channel)
        values = flat[name].reshape(-1, cells, old.out_channels)
        flat[name] = np.pad(values, ((0, 0), *ends)).reshape(*flat[name].shape[:-1], -1)
    if old.linear_guess:
        flat["latent_log_variance"] = np.concatenate([flat["latent_log_variance"], np.log(variance)])
    return Component(transformer.module, config, functional.unflatten(flat))
