"""Names of the tokenizer's tensors in the files of Open-MAGVIT2: the weights, and their averages.

A file has every parameter twice. Of the two, the average is the better one, and what its own scripts use.
"""

import dataclasses

from actavatar_jax.avatarsync.tokenizer.config import LFQConfig
from actavatar_jax.weights.names import CONV2D, Entry, Table, linear, norm

AVERAGE = "model_ema."  # before names without their dots


def open_magvit(config: LFQConfig) -> Table:
    """The weights under `state_dict`."""
    levels = len(config.multipliers)
    entries = [*_conv("encoder.conv_in", bias=False), *_conv("encoder.conv_out"), *_norm("encoder.norm_out")]
    entries += [*_conv("decoder.conv_in"), *_conv("decoder.conv_out"), *_norm("decoder.norm_out")]
    inputs = (config.channels, *config.widths)  # of the encoder's levels
    outputs = (*config.widths[1:], config.widths[-1])  # of the decoder's
    for side in ("encoder", "decoder"):
        for i in range(config.blocks):
            entries += _block(f"{side}.mid_block.{i}", False)
    for level in range(levels):
        width, last = config.widths[level], level == levels - 1
        for i in range(config.blocks):
            entries += _block(f"encoder.down.{level}.block.{i}", i == 0 and inputs[level] != width)
            entries += _block(f"decoder.up.{level}.block.{i}", i == 0 and outputs[level] != width)
        for part in ("gamma", "beta"):
            name = f"decoder.adaptive.{level}.{part}"
            entries += linear(name, name.replace(".", "/"))
        entries += [] if last else _conv(f"encoder.down.{level}.downsample")
        if level:
            upsample = f"decoder.up.{level}.upsample"
            entries += _conv(f"{upsample}.conv1", upsample)
    return tuple(entries)


def averaged(table: Table) -> Table:
    """The same parameters under the names of their averages."""
    return tuple(dataclasses.replace(entry, theirs=AVERAGE + entry.theirs.replace(".", "")) for entry in table)


def _block(name: str, shortcut: bool) -> list[Entry]:
    entries = [*_norm(f"{name}.norm1"), *_norm(f"{name}.norm2")]
    entries += [*_conv(f"{name}.conv1", bias=False), *_conv(f"{name}.conv2", bias=False)]
    return entries + (_conv(f"{name}.nin_shortcut", f"{name}.shortcut", bias=False) if shortcut else [])


def _norm(name: str) -> list[Entry]:
    return norm(name, name.replace(".", "/"))


def _conv(theirs: str, ours: str = "", bias: bool = True) -> list[Entry]:
    ours = (ours or theirs).replace(".", "/")
    entries = [Entry(f"{theirs}.weight", f"{ours}/kernel", CONV2D)]
    return entries + [Entry(f"{theirs}.bias", f"{ours}/bias")] * bias
