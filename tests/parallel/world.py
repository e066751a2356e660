"""What the tests of meshes share, whatever devices they run on: a transformer of two blocks and a batch of clips."""

import numpy as np

from actavatar_jax import functional
from actavatar_jax.models.avatar import ActAvatarDiT, AudioAdapterConfig, DiTConfig

MODEL = DiTConfig(
    width=32,
    heads=4,
    head_dim=8,
    ffn=64,
    layers=2,
    in_channels=4,
    out_channels=4,
    text_dim=16,
    text_len=12,
    freq_dim=16,
    audio=AudioAdapterConfig(feature_layers=2, feature_width=8, hidden=16, tokens=4, token_width=16),
)
NETWORK = functional.Network(ActAvatarDiT, MODEL)
BATCH, FRAMES = 8, 4  # samples and latent frames: cut by every axis of a mesh of eight devices


def params(network=NETWORK):
    """numpy arrays; no parameter is at its identity start, so that every one gets a gradient."""
    rng = np.random.default_rng(0)
    shapes = functional.flatten(functional.abstract(network.module, network.config))
    gains = {name: float(name.endswith("/scale")) for name in shapes}
    drawn = {name: gains[name] + 0.15 * rng.standard_normal(x.shape, np.float32) for name, x in shapes.items()}
    return functional.unflatten(drawn)


def batch(seed=0):
    """A global batch of made-up clips."""
    rng = np.random.default_rng(seed)
    return {
        "latents": rng.standard_normal((BATCH, FRAMES, 4, 4, 4), np.float32),
        "text": rng.standard_normal((BATCH, 12, 16), np.float32),
        "phase_ids": np.tile(np.arange(12) // 5, (BATCH, 1)).astype(np.int32),
        "phase_windows": np.tile(np.float32([[0, 0.2], [0.2, 0.5]] + [[0, 0]] * 6), (BATCH, 1, 1)),
        "audio": rng.standard_normal((BATCH, 4 * FRAMES - 3, 2, 8), np.float32),
        "index": np.arange(seed * BATCH, (seed + 1) * BATCH, dtype=np.int32),
    }
