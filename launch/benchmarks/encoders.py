"""The frozen encoders beside their originals: umT5 and Wav2Vec2 of transformers, the Wan VAE of diffusers."""

import jax
import numpy as np
import torch
from diffusers import AutoencoderKLWan
from transformers import UMT5EncoderModel, Wav2Vec2Model

from actavatar_jax.models import UMT5Config, Wav2Vec2Config
from actavatar_jax.models.wan_vae.vae import VAEConfig
from benchmarks.pairs import Pair, open_both


def text_pair(config: UMT5Config, tokens: int, dtype: str) -> Pair:
    """Features of a prompt without padding."""
    part, theirs = open_both(
        "text_encoder",
        config,
        lambda folder: UMT5EncoderModel.from_pretrained(folder / "text_encoder", dtype=getattr(torch, dtype)),
        dtype,
    )
    encode = jax.jit(lambda params, ids, mask: part.network.bind(params)(ids, mask))
    ids = np.random.default_rng(0).integers(2, config.vocab_size, (1, tokens)).astype(np.int32)
    inputs = jax.device_put((ids, np.ones((1, tokens), bool)))
    their_ids, their_mask = torch.tensor(ids).long(), torch.ones(1, tokens, dtype=torch.bool)

    @torch.inference_mode()
    def run_theirs() -> np.ndarray:
        return theirs(their_ids, attention_mask=their_mask).last_hidden_state.float().numpy()

    size = f"{tokens} tokens, {config.layers} layers of {config.width}"
    return Pair(f"umT5, {dtype}", size, lambda: np.asarray(encode(part.params, *inputs)), run_theirs)


def encode_pair(config: VAEConfig, clip: tuple[int, int, int]) -> Pair:
    """Normalised latents of a clip of (F, h, w), one latent frame after the other, as both do by themselves."""
    part, theirs = open_both("vae", config, read_vae)
    encode = jax.jit(lambda params, pixels: part.network.bind(params).encode_stream(pixels))
    pixels = np.random.default_rng(0).uniform(-1, 1, (1, *clip, 3)).astype(np.float32)
    ours, raw = jax.device_put(pixels), torch.tensor(pixels).permute(0, 4, 1, 2, 3).contiguous()
    centre, spread = statistics_of(config)

    @torch.inference_mode()
    def run_theirs() -> np.ndarray:
        mean = theirs.encode(raw).latent_dist.mode()
        return ((mean.permute(0, 2, 3, 4, 1) - centre) / spread).numpy()

    size = f"{size_of(clip)}, base {config.encoder_base}"
    return Pair("Wan VAE, encode", size, lambda: np.asarray(encode(part.params, ours)), run_theirs)


def decode_pair(config: VAEConfig, clip: tuple[int, int, int]) -> Pair:
    """A clip of (F, h, w) from normalised latents, likewise."""
    part, theirs = open_both("vae", config, read_vae)
    decode = jax.jit(lambda params, latents: part.network.bind(params).decode_stream(latents))
    frames, height, width = clip
    shape = (1 + (frames - 1) // config.time_factor, height // config.space_factor, width // config.space_factor)
    latents = np.random.default_rng(0).standard_normal((1, *shape, config.z_dim), np.float32)
    ours, raw = jax.device_put(latents), torch.tensor(latents)
    centre, spread = statistics_of(config)

    @torch.inference_mode()
    def run_theirs() -> np.ndarray:
        sample = (raw * spread + centre).permute(0, 4, 1, 2, 3)
        return theirs.decode(sample).sample.permute(0, 2, 3, 4, 1).numpy()

    size = f"{size_of(clip)}, base {config.decoder_base}"
    return Pair("Wan VAE, decode", size, lambda: np.asarray(decode(part.params, ours)), run_theirs)


def speech_pair(config: Wav2Vec2Config, samples: int) -> Pair:
    """The hidden states of all layers, at the encoder's own 50 Hz."""
    part, theirs = open_both(
        "audio_encoder", config, lambda folder: Wav2Vec2Model.from_pretrained(folder / "audio_encoder")
    )
    encode = jax.jit(lambda params, wave: part.network.bind(params)(wave))
    wave = np.random.default_rng(0).standard_normal((1, samples), np.float32)
    ours, raw = jax.device_put(wave), torch.tensor(wave)

    @torch.inference_mode()
    def run_theirs() -> np.ndarray:
        return torch.stack(theirs(raw, output_hidden_states=True).hidden_states, dim=2).numpy()

    size = f"{samples / 16_000:g} s, {config.layers} layers of {config.hidden}"
    return Pair("Wav2Vec2", size, lambda: np.asarray(encode(part.params, ours)), run_theirs)


def read_vae(folder) -> AutoencoderKLWan:
    return AutoencoderKLWan.from_pretrained(folder / "vae")


def statistics_of(config: VAEConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation of the latents, by channel."""
    return torch.tensor(config.latents_mean), torch.tensor(config.latents_std)


def size_of(clip: tuple[int, int, int]) -> str:
    frames, height, width = clip
    return f"{height}x{width}x{frames}"
