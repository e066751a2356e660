"""What generators do to pictures, done to drawn clips while the judge trains. B clips, F frames, values in [-1, 1]."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt8

from actavatar_jax import functional
from actavatar_jax.functional import Params
from actavatar_jax.models import PatchCodec, PatchCodecConfig

GAIN, OFFSET = 0.12, 0.08  # colour: per channel, the same in all frames of a clip
FEWEST_COMPONENTS, LATENT_NOISE = 24, 0.3  # of the linear code
BLUR = 1.6  # pixels
NOISE = 0.15
SHARES = {"code": 0.6, "blur": 0.4, "noise": 0.4, "clean first frame": 0.5}  # of the clips
FREEZES, STUTTERS, REST = 0.2, 0.15, 0.95


def spoil(
    key: Key[Array, ""], frames: UInt8[Array, "B F 64 64 3"], codec: PatchCodecConfig, code: Params
) -> Float[Array, "B F 64 64 3"]:
    """Another light, few components of a linear code with errors in it, blur, noise; how much differs by clip.

    Some clips keep their first frame, as generated ones do: it is their portrait.
    """
    keys = iter(jax.random.split(key, 16))
    batch = frames.shape[0]

    def amount(name: str, most: float) -> Float[Array, "B 1 1 1 1"]:
        applies = jax.random.bernoulli(next(keys), SHARES[name], (batch, 1, 1, 1, 1))
        return most * applies * jax.random.uniform(next(keys), (batch, 1, 1, 1, 1))

    gain, offset = (most * jax.random.uniform(next(keys), (batch, 1, 1, 1, 3), minval=-1.0) for most in (GAIN, OFFSET))
    clean = frames.astype(jnp.float32) / 127.5 - 1
    clean = jnp.clip(clean * (1 + gain) + offset, -1, 1)
    x = jnp.where(amount("code", 1.0) > 0, recode(next(keys), clean, codec, code), clean)
    x = blur(x, amount("blur", BLUR))
    grain = jax.random.bits(next(keys), (*x.shape[:-1], 1), jnp.uint8).astype(jnp.float32) / 127.5 - 1
    x = x + amount("noise", NOISE) * grain
    keep = amount("clean first frame", 1.0) > 0
    return jnp.concatenate([jnp.where(keep, clean, x)[:, :1], x[:, 1:]], axis=1)


def recode(
    key: Key[Array, ""], pixels: Float[Array, "B F h w 3"], codec: PatchCodecConfig, code: Params
) -> Float[Array, "B F h w 3"]:
    """Through the code and back with a random number of its components and random errors in them."""
    count_key, level_key, noise_key = jax.random.split(key, 3)
    network = functional.bind(PatchCodec, codec, code)
    latents = network.encode(pixels)
    one_each = (latents.shape[0], 1, 1, 1, 1)
    fewest = min(FEWEST_COMPONENTS / codec.channels, 1.0)
    share = fewest ** jax.random.uniform(count_key, one_each)
    kept = jnp.arange(codec.channels).reshape(1, 1, 1, 1, -1) < share * codec.channels
    noise = LATENT_NOISE * jax.random.uniform(level_key, one_each) * jax.random.normal(noise_key, latents.shape)
    return network.decode((latents + noise) * kept)


def blur(x: Float[Array, "B F h w 3"], sigma: Float[Array, "B 1 1 1 1"]) -> Float[Array, "B F h w 3"]:
    """Gaussian, `sigma` pixels wide: along rows, then along columns."""
    for subscripts, size in (("bij,bfjwc->bfiwc", x.shape[2]), ("bij,bfhjc->bfhic", x.shape[3])):
        apart = jnp.arange(size)[:, None] - jnp.arange(size)[None, :]
        near = jnp.exp(-((apart[None] / jnp.maximum(sigma[:, :, 0, 0], 0.1)) ** 2) / 2)
        x = jnp.einsum(subscripts, near / near.sum(axis=-1, keepdims=True), x)
    return x


def frame_numbers(rng: np.random.Generator, rest: Float[np.ndarray, " F"], count: int) -> Int[np.ndarray, " count"]:
    """Which frames of a clip a window of `count` frames shows, one after another.

    Some windows freeze for a while and some show every other frame twice. Only a presenter at rest (`rest` near 1)
    freezes: whether a raised hand that stands still is being raised has no answer.
    """
    numbers = rng.integers(0, len(rest) - count + 1) + np.arange(count)
    kind = rng.random()
    resting = np.flatnonzero(rest[numbers] > REST)
    if kind < FREEZES and len(resting):
        first = rng.choice(resting)
        numbers[first : first + rng.integers(2, count + 1)] = numbers[first]
    elif kind > 1 - STUTTERS:
        numbers[1::2] = numbers[: count - 1 : 2]
    return numbers
