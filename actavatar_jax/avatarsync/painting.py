"""KeyframePainter: a portrait as tokens, keyframes for units of speech, and tokens as pictures again.

T keyframes, N tokens of one, h w pixels.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Int, UInt8

from actavatar_jax.avatarsync.folder import Part
from actavatar_jax.avatarsync.interpolation.filling import Interpolate
from actavatar_jax.avatarsync.keyframes import KeyframeSampling, Seen, sample_keyframes, seen_units
from actavatar_jax.avatarsync.pasting import Paste
from actavatar_jax.functional import Network, Params, random_key
from actavatar_jax.media import fit_image, load_image

MULTIPLE = 8  # of keyframes that a program is compiled for


class KeyframePainter:
    """Tokenizer and keyframe transformer, compiled as they are needed."""

    def __init__(self, tokenizer: Part, keyframes: Part):
        self.tokenizer, self.keyframes = tokenizer.on_device(), keyframes.on_device()
        self.places = keyframes.config.tokens

    def read_portrait(self, image: Any) -> Int[np.ndarray, " N"]:
        """The tokens of a picture of a head; `image` and errors are those of `load_image`."""
        portrait = self.fit_portrait(image)
        return np.asarray(encode_pictures(self.tokenizer.network, self.tokenizer.params, portrait[None])).reshape(-1)

    def fit_portrait(self, image: Any) -> UInt8[np.ndarray, "h w 3"]:
        """The centre of a picture, as wide and high as the tokenizer takes it; as `read_portrait`."""
        height, width = (self.tokenizer.config.stride * count for count in self.places)
        return fit_image(load_image(image), height, width)

    def paste(self, image: Any, reference: Int[np.ndarray, " N"]) -> Paste:
        """What frames of this portrait, whose tokens are `reference`, are pasted into; as `read_portrait`."""
        return Paste(self.fit_portrait(image).astype(np.float32) / 255, self.show(reference[None])[0])

    def seen(self, ids: Int[np.ndarray, " T"]) -> Seen:
        """The units that the keyframes of one clip see, as the model's mask has it."""
        return seen_units(jnp.asarray(ids)[None], self.keyframes.config.visible)

    def draw(
        self,
        reference: Int[np.ndarray, " N"],
        ids: Int[np.ndarray, " T"],
        sampling: KeyframeSampling,
        seed: int,
        chosen: Int[np.ndarray, " C"] | None = None,
    ) -> Int[np.ndarray, "C N"]:
        """Tokens of the keyframes of a clip with these units, or of the `chosen` ones of them, all at once."""
        chosen = np.arange(len(ids)) if chosen is None else chosen
        padded = np.pad(chosen, (0, -len(chosen) % MULTIPLE), mode="edge")
        ids, there = self.seen(ids)
        seen, keys = Seen(ids[:, padded], there[:, padded]), random_key(seed)[None]
        network, params = self.keyframes.network, self.keyframes.params
        reference = jnp.asarray(reference)[None]
        drawn = sample_keyframes(network, params, reference, seen, keys, sampling, jnp.asarray(padded))
        return np.asarray(drawn)[0, : len(chosen)]

    def show(self, tokens: Int[np.ndarray, "T N"]) -> Float32[np.ndarray, "T h w 3"]:
        """Pixels in [0, 1]; decoded one by one, so that a picture has the same bits whatever others there are."""
        network, params = self.tokenizer.network, self.tokenizer.params
        return np.stack([np.asarray(decode_tokens(network, params, one.reshape(1, *self.places)))[0] for one in tokens])


def compiled_interpolator(part: Part) -> Interpolate:
    """What `stream_frames` takes."""
    part = part.on_device()
    return functools.partial(_interpolate, part.network, part.params)


def to_bytes(pixels: Float32[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """[0, 1] -> bytes."""
    return np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8)


@functools.partial(jax.jit, static_argnums=0)
def encode_pictures(network: Network, params: Params, pixels: Any) -> Any:
    """Bytes [B, h, w, 3] -> tokens [B, H, W] of a tokenizer."""
    return network.bind(params).encode(pixels.astype(jnp.float32) / 127.5 - 1)


@functools.partial(jax.jit, static_argnums=0)
def decode_tokens(network: Network, params: Params, tokens: Any) -> Any:
    """Tokens [B, H, W] -> pixels [B, h, w, 3] in [0, 1]."""
    return network.bind(params).decode(tokens) / 2 + 0.5


@functools.partial(jax.jit, static_argnums=0)
def _interpolate(network: Network, params: Params, first: Any, second: Any, t: Any) -> Any:
    return network.bind(params)(first, second, t).frames
