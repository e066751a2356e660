"""Pictures to latents and back: the compiled VAE (or PatchCodec).

F video frames, T latent frames, h w pixel sides, H W latent sides, C latent channels.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32, UInt8

from actavatar_jax.functional import Network


@functools.partial(jax.jit, static_argnames="network")
def encode_video(network: Network, params: Any, frames: UInt8[Array, "F h w 3"]) -> Float32[Array, "T H W C"]:
    pixels = frames.astype(jnp.float32) / 127.5 - 1
    return network.bind(params).encode_stream(pixels[None])[0].astype(jnp.float32)


@functools.partial(jax.jit, static_argnames="network")
def decode_video(
    network: Network,
    params: Any,
    latents: Float[Array, "T H W C"],
    first: UInt8[Array, "h w 3"] | None = None,
) -> UInt8[Array, "F h w 3"]:
    vae = network.bind(params)
    picture = () if first is None else (first[None].astype(jnp.float32) / 127.5 - 1,)
    pixels = vae.decode_stream(latents[None].astype(jnp.float32), *picture)[0].astype(jnp.float32)
    return jnp.clip(jnp.round((pixels + 1) * 127.5), 0, 255).astype(jnp.uint8)


@functools.partial(jax.jit, static_argnames="network")
def measure_strangeness(network: Network, params: Any, latents: Float[Array, "T H W C"]) -> Float[Array, ""]:
    return network.bind(params).strangeness(latents[None])[0]
