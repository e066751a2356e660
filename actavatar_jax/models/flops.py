"""Model FLOPs of the transformer, and what devices can do: the two halves of a utilisation (MFU).

A multiply-add counts as two; only matrix products count, recomputation never does.
"""

import functools
import math
import re
from typing import Any, NamedTuple

from actavatar_jax.models.avatar import AudioAdapterConfig, DiTConfig

# Peak bf16 FLOP/s of one device without sparsity, from the makers' data sheets; of a TPU7x chip a device is one half.
PEAKS = {
    "v5e": 197e12,
    "v5p": 459e12,
    "v6e": 918e12,
    "tpu7x": 2307e12 / 2,
    "a100": 312e12,
    "h100": 989e12,
    "h200": 989e12,
    "b200": 2250e12,
}
_KINDS = (  # regex of what JAX calls a device; PCIe cards are slower than these, and left out
    (r"TPU v5( lite|e)", "v5e"),
    (r"TPU v5p?", "v5p"),
    (r"TPU v6( lite|e)", "v6e"),
    (r"TPU7x", "tpu7x"),
    (r"NVIDIA A100-SXM.*", "a100"),
    (r"NVIDIA H100.*HBM3", "h100"),
    (r"NVIDIA H200", "h200"),
    (r"NVIDIA B200", "b200"),
)


def peak_flops(device_kind: str) -> float | None:
    """bf16 FLOP/s of `jax.Device.device_kind`; None where it is not known."""
    return next((PEAKS[name] for regex, name in _KINDS if re.fullmatch(regex, device_kind)), None)


class Products(NamedTuple):
    """FLOPs of one evaluation of a transformer on one sample."""

    weights: int  # products with weights of the backbone
    scores: int  # of its queries, keys and values
    adapter: int  # of what is added for speech


@functools.singledispatch
def products(config: Any, grid: tuple[int, int, int]) -> Products:
    """Of the transformer of a config, on a latent (T, H, W); each system's room adds its own."""
    raise TypeError(f"{type(config).__name__} has no count of FLOPs.")


def train_flops(config: Any, grid: tuple[int, int, int], frozen_backbone: bool = False) -> int:
    """FLOPs to train on one sample: the forward pass, and twice that for the gradients.

    A frozen backbone passes gradients on, but its weights have none: half of the backward pass of their products.
    """
    weights, scores, adapter = products(config, grid)
    return (2 if frozen_backbone else 3) * weights + 3 * (scores + adapter)


def forward_flops(config: Any, grid: tuple[int, int, int]) -> int:
    """FLOPs of one evaluation of the model on one sample; `grid` is the latent (T, H, W)."""
    return sum(products(config, grid))


def condition_flops(config: DiTConfig, grid: tuple[int, int, int]) -> int:
    """The part of it that is done once for all noise levels where conditions are cached: embeddings, keys and values of
    text and speech."""
    c, a, frames = config, config.audio, grid[0]
    inner = c.heads * c.head_dim
    text = 2 * c.text_len * c.width * (c.text_dim + c.width) + c.layers * 4 * c.text_len * c.width * inner
    return text + projection_flops(a, frames) + c.layers * 4 * frames * a.tokens * a.token_width * inner


@products.register
def _of_avatar(config: DiTConfig, grid: tuple[int, int, int]) -> Products:
    return Products(*backbone_flops(config, grid), _adapter(config, grid))


def backbone_flops(config: Any, grid: tuple[int, int, int]) -> tuple[int, int]:
    """(products with weights, products of queries, keys and values) of what Wan has, whose sizes `config` names."""
    c, frames, tokens = config, grid[0], config.tokens(grid)
    inner, patch = c.heads * c.head_dim, math.prod(c.patch)
    block = 12 * tokens * c.width * inner  # self-attention's four projections, text's query and output
    block += 4 * c.text_len * c.width * inner  # text's keys and values
    block += 4 * tokens * c.width * c.ffn
    ends = 2 * tokens * c.width * patch * (c.in_channels + c.out_channels)
    ends += 2 * c.text_len * c.width * (c.text_dim + c.width)
    ends += 2 * frames * c.width * (c.freq_dim + 7 * c.width)  # time, once per latent frame
    return c.layers * block + ends, c.layers * 4 * tokens * inner * (tokens + c.text_len)


def _adapter(config: DiTConfig, grid: tuple[int, int, int]) -> int:
    """Audio projection and audio cross-attention."""
    a, frames, tokens = config.audio, grid[0], config.tokens(grid)
    inner = config.heads * config.head_dim
    block = 4 * tokens * config.width * inner + 4 * tokens * a.tokens * inner
    block += 4 * frames * a.tokens * a.token_width * inner
    return config.layers * block + projection_flops(a, frames)


def projection_flops(audio: AudioAdapterConfig, frames: int) -> int:
    """Of speech to tokens, for so many latent frames."""
    a, features = audio, audio.feature_layers * audio.feature_width
    windows = 2 * a.hidden * features * (5 + 8 * (frames - 1))  # of 5 features, then of 8
    return windows + 2 * frames * a.hidden * (a.hidden + a.tokens * a.token_width)
