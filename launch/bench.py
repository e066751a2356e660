"""Ratios against a peer, measured in one run: `python launch/bench.py dit --tokens 7040 --against diffusers`.

The peer and ours take turns on the same weights and input, and the last line is the median of the pairwise ratios.
"""

import statistics
import time
from collections.abc import Callable
from typing import Annotated

import numpy as np
import typer

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def group() -> None:
    """Benchmarks against peers."""


@app.command()
def dit(
    tokens: Annotated[int, typer.Option(help="Video tokens, a multiple of 440 (grids of T x 20 x 22).")] = 7040,
    against: Annotated[str, typer.Option(help="The peer: diffusers.")] = "diffusers",
    pairs: int = 5,
    layers: int = 4,
    heads: int = 8,
    head_dim: int = 64,
    attention: str = "chunked",
) -> None:
    """One forward of the transformer, fp32, same weights: jitted ours against diffusers' WanTransformer3DModel."""
    import jax
    import torch
    from diffusers import WanTransformer3DModel

    from actavatar_jax.models import functional
    from actavatar_jax.models.audio_adapter import AudioAdapterConfig
    from actavatar_jax.models.dit import ActAvatarDiT, DiTConfig
    from actavatar_jax.weights import names
    from actavatar_jax.weights.tables import dit as tables

    if against != "diffusers" or tokens % 440:
        raise typer.BadParameter("--against takes diffusers, --tokens a multiple of 440.")
    width, frames, height, columns = heads * head_dim, tokens // 440, 40, 44
    torch.manual_seed(0)
    peer = WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=heads, attention_head_dim=head_dim, in_channels=48, out_channels=48,
        text_dim=256, freq_dim=256, ffn_dim=4 * width, num_layers=layers, qk_norm="rms_norm_across_heads",
    ).eval()  # fmt: skip
    config = DiTConfig(
        width=width,
        heads=heads,
        head_dim=head_dim,
        ffn=4 * width,
        layers=layers,
        text_dim=256,
        audio=AudioAdapterConfig(feature_layers=2, feature_width=64, hidden=64, tokens=32, token_width=64),
        attention=attention,
    )
    params = functional.init(ActAvatarDiT, config, jax.random.key(0))  # the adapter stays at its identity
    source = names.Arrays({name: value.detach().numpy() for name, value in peer.state_dict().items()})
    params = names.import_params(
        tables.diffusers(config),
        functional.abstract(ActAvatarDiT, config),
        source,
        initial=params,
        may_miss=tables.ADDED,
    )
    params = jax.device_put(params)

    rng = np.random.default_rng(0)
    latents = rng.standard_normal((1, frames, height, columns, 48)).astype(np.float32)
    text = rng.standard_normal((1, 512, 256)).astype(np.float32)
    audio = np.zeros((1, 4 * frames - 3, 2, 64), np.float32)
    grid = (frames, height, columns)
    times = np.concatenate([[0], np.full(frames - 1, 700)])[None].astype(np.float32)

    @jax.jit
    def prepare(params):
        model = functional.bind(ActAvatarDiT, config, params)
        ids = np.zeros((1, 512), np.int32)
        return model.cache(model.condition(text, ids, np.zeros((1, 8, 2), np.float32), audio, grid))

    @jax.jit
    def forward(params, conditions):
        return functional.bind(ActAvatarDiT, config, params)(latents, times, conditions)

    conditions = prepare(params)
    theirs = {
        "hidden_states": torch.from_numpy(latents).permute(0, 4, 1, 2, 3).contiguous(),
        "timestep": torch.from_numpy(np.repeat(times, tokens // frames, axis=1)),
        "encoder_hidden_states": torch.from_numpy(text),
    }

    def run_theirs():
        with torch.no_grad():
            return peer(**theirs).sample

    ours = np.asarray(forward(params, conditions))
    difference = np.abs(ours - run_theirs().permute(0, 2, 3, 4, 1).numpy()).max() / np.abs(ours).max()
    print(f"{tokens} tokens, {layers} blocks, {heads} heads of {head_dim}, fp32, relative difference {difference:.1e}")
    pair(lambda: forward(params, conditions).block_until_ready(), run_theirs, pairs)


def pair(ours: Callable, theirs: Callable, pairs: int) -> None:
    """Times the two in turn and prints the ratio."""
    ratios = []
    for number in range(pairs):
        a, b = seconds(ours), seconds(theirs)
        ratios.append(a / b)
        print(f"pair {number + 1}: ours {a:.2f} s, theirs {b:.2f} s")
    print(f"ratio ours/theirs: {statistics.median(ratios):.2f} (median of {pairs} pairs)")


def seconds(run: Callable) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    app()
