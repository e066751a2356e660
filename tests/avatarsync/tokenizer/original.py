"""Open-MAGVIT2's image tokenizer restated in PyTorch, from its tensors by their names."""

import torch
from torch.nn import functional as F  # noqa: N812 - its usual name


def encode(weights, config, pixels):
    """NCHW pixels -> the numbers whose signs are the code."""
    x = _conv(weights, "encoder.conv_in", pixels)
    for level in range(len(config.multipliers)):
        for i in range(config.blocks):
            x = _block(weights, f"encoder.down.{level}.block.{i}", x, config)
        if f"encoder.down.{level}.downsample.weight" in weights:
            x = _conv(weights, f"encoder.down.{level}.downsample", x, stride=2)
    for i in range(config.blocks):
        x = _block(weights, f"encoder.mid_block.{i}", x, config)
    return _conv(weights, "encoder.conv_out", _swish(_norm(weights, "encoder.norm_out", x, config)), padding=0)


def decode(weights, config, codes):
    x = _conv(weights, "decoder.conv_in", codes)
    for i in range(config.blocks):
        x = _block(weights, f"decoder.mid_block.{i}", x, config)
    for level in reversed(range(len(config.multipliers))):
        x = _adaptive(weights, f"decoder.adaptive.{level}", x, codes, config)
        for i in range(config.blocks):
            x = _block(weights, f"decoder.up.{level}.block.{i}", x, config)
        if level:
            x = depth_to_space(_conv(weights, f"decoder.up.{level}.upsample.conv1", x))
    return _conv(weights, "decoder.conv_out", _swish(_norm(weights, "decoder.norm_out", x, config)))


def depth_to_space(x):
    B, D, H, W = x.shape
    return x.reshape(B, 2, 2, D // 4, H, W).permute(0, 3, 4, 1, 5, 2).reshape(B, D // 4, 2 * H, 2 * W)


def _adaptive(weights, name, x, codes, config):
    style = codes.flatten(2)
    spread = (style.var(-1, unbiased=True) + 1e-6).sqrt()
    gamma = F.linear(spread, weights[f"{name}.gamma.weight"], weights[f"{name}.gamma.bias"])
    beta = F.linear(style.mean(-1), weights[f"{name}.beta.weight"], weights[f"{name}.beta.bias"])
    return F.group_norm(x, config.groups, eps=1e-6) * gamma[:, :, None, None] + beta[:, :, None, None]


def _block(weights, name, x, config):
    y = _conv(weights, f"{name}.conv1", _swish(_norm(weights, f"{name}.norm1", x, config)))
    y = _conv(weights, f"{name}.conv2", _swish(_norm(weights, f"{name}.norm2", y, config)))
    if f"{name}.nin_shortcut.weight" in weights:
        x = _conv(weights, f"{name}.nin_shortcut", x, padding=0)
    return x + y


def _norm(weights, name, x, config):
    return F.group_norm(x, config.groups, weights[f"{name}.weight"], weights[f"{name}.bias"], eps=1e-6)


def _swish(x):
    return x * torch.sigmoid(x)


def _conv(weights, name, x, stride=1, padding=1):
    return F.conv2d(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"), stride, padding)
