"""What `python launch/bench.py networks` measures, at which sizes, and its table."""

import dataclasses
import os
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from transformers.utils.logging import disable_progress_bar

from actavatar_jax.errors import InputError
from actavatar_jax.models import UMT5Config, Wav2Vec2Config
from actavatar_jax.models.avatar import AudioAdapterConfig, DiTConfig
from actavatar_jax.models.execution import DTYPES
from actavatar_jax.models.wan_vae.vae import VAEConfig
from benchmarks.encoders import decode_pair, encode_pair, speech_pair, text_pair
from benchmarks.pairs import Pair, Row, measure
from benchmarks.transformer import forward_pair, step_pair

Grid = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Of the networks and of what goes in."""

    transformer: DiTConfig
    latents: tuple[Grid, ...]  # T, H, W of each forward
    trained: Grid  # of the clip in a training step
    text_encoder: UMT5Config
    tokens: int  # of a prompt
    vae: VAEConfig
    clip: Grid  # F, h, w
    audio_encoder: Wav2Vec2Config
    samples: int  # of speech at 16 kHz


# All of them together take two cores a few minutes.
SIZES = Sizes(
    transformer=DiTConfig(
        width=512,
        heads=8,
        head_dim=64,
        ffn=2048,
        layers=4,
        text_dim=256,
        audio=AudioAdapterConfig(feature_layers=2, feature_width=64, hidden=64, tokens=32, token_width=64),
    ),
    latents=((2, 40, 44), (4, 40, 44), (8, 40, 44), (16, 40, 44)),
    trained=(2, 40, 44),
    text_encoder=UMT5Config(vocab_size=8192, width=1024, heads=16, head_dim=64, ffn=2560, layers=4),
    tokens=512,
    vae=VAEConfig(encoder_base=32, decoder_base=48),
    clip=(17, 128, 128),
    audio_encoder=Wav2Vec2Config(),  # the published base model
    samples=80_000,
)

# Every pair is made when its turn comes.
PARTS: dict[str, Callable[[Sizes], Iterator[Pair]]] = {
    "dit": lambda sizes: (forward_pair(sizes.transformer, grid) for grid in sizes.latents),
    "training": lambda sizes: (step_pair(sizes.transformer, sizes.trained, stage) for stage in (1, 2)),
    "umt5": lambda sizes: (text_pair(sizes.text_encoder, sizes.tokens, dtype) for dtype in DTYPES),
    "vae": lambda sizes: (make(sizes.vae, sizes.clip) for make in (encode_pair, decode_pair)),
    "wav2vec2": lambda sizes: iter([speech_pair(sizes.audio_encoder, sizes.samples)]),
}


def check_parts(parts: Iterable[str]) -> None:
    """InputError for a name that is none of `PARTS`."""
    if unknown := [part for part in parts if part not in PARTS]:
        raise InputError(f"There is no part {unknown[0]!r:.60} to measure; accepted are {', '.join(PARTS)}.")


def print_table(sizes: Sizes, parts: Sequence[str], pairs: int) -> None:
    """Measures parts and prints each row as soon as it is known; below it how the transformer's time grows."""
    torch.set_num_threads(os.cpu_count() or 1)  # as many as XLA takes
    disable_progress_bar()  # of transformers, where weights are read: the table is all there is to see
    print(f"| part | size | ours, s | PyTorch, s | ratio (median of {pairs} pairs) | relative difference |")
    print("| --- | --- | --- | --- | --- | --- |")
    rows = {}
    for part in parts:
        rows[part] = []
        for pair in PARTS[part](sizes):
            rows[part].append(measure(pair, pairs))
            print(markdown(rows[part][-1]), flush=True)
    if "dit" in rows:
        tokens = [sizes.transformer.tokens(grid) for grid in sizes.latents]
        ours = growth(tokens, [statistics.median(row.ours) for row in rows["dit"]])
        theirs = growth(tokens, [statistics.median(row.theirs) for row in rows["dit"]])
        print(f"\nTime of the DiT's forward grows with tokens to the power of {ours:.2f}, PyTorch's of {theirs:.2f}.")


def markdown(row: Row) -> str:
    ours, theirs = (f"{statistics.median(times):.3g}" for times in (row.ours, row.theirs))
    return f"| {row.part} | {row.size} | {ours} | {theirs} | {row.ratio:.2f} | {row.difference:.0e} |"


def growth(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """The exponent of a power law through measured times, by least squares over logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
