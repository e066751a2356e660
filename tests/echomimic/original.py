"""EchoMimicV3's transformer restated in PyTorch over the tensors of its public file, step by step as its code goes.

Every function takes `w`, tensors by their names. B batch, F latent frames, P tokens in each, N heads.
"""

import math

import torch
import torch.nn.functional as nn


def velocity(w, config, latents, known, timestep, text, image, audio, *, face=None, audio_scale=1.0):
    """[B, 16, F, H, W] of latents and of what is known, t [B], text [B, 512, ..], image [B, 257, ..], speech."""
    c = config
    x = nn.conv3d(
        torch.cat([latents, known], 1), w["patch_embedding.weight"], w["patch_embedding.bias"], stride=c.patch
    )
    grid = x.shape[2:]
    x = x.flatten(2).transpose(1, 2)

    half = c.freq_dim // 2
    angles = timestep.double()[:, None] * 10_000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    e = torch.cat([angles.cos(), angles.sin()], 1).float()
    e = linear(w, "time_embedding.2", nn.silu(linear(w, "time_embedding.0", e)))
    e6 = linear(w, "time_projection.1", nn.silu(e)).unflatten(1, (6, c.width))

    context = linear(w, "text_embedding.2", nn.gelu(linear(w, "text_embedding.0", text), approximate="tanh"))
    seen = layer_norm(w, "img_emb.proj.0", image)
    seen = linear(w, "img_emb.proj.3", nn.gelu(linear(w, "img_emb.proj.1", seen)))
    seen = layer_norm(w, "img_emb.proj.4", seen)
    heard = preview_tokens(w, audio) if c.variant == "preview" else flash_tokens(w, audio, c.audio_tokens)
    mask = 1.0 if face is None else face.repeat_interleave(grid[0], 0)[:, :, None]  # the same in every latent frame

    turns = rotations(grid, c.head_dim)
    for i in range(c.layers):
        b = {name.removeprefix(f"blocks.{i}."): value for name, value in w.items() if name.startswith(f"blocks.{i}.")}
        shift1, scale1, gate1, shift2, scale2, gate2 = (b["modulation"] + e6).chunk(6, 1)
        y = plain_norm(x, c.eps) * (1 + scale1) + shift1
        x = x + gate1 * self_attention(b, c, y, turns)
        y = layer_norm(b, "norm3", x, c.eps)
        x = x + cross_attention(b, c, y, context, seen, heard, grid[0], mask, audio_scale)
        y = plain_norm(x, c.eps) * (1 + scale2) + shift2
        x = x + gate2 * linear(b, "ffn.2", nn.gelu(linear(b, "ffn.0", y), approximate="tanh"))

    shift, scale = (w["head.modulation"] + e[:, None]).chunk(2, 1)
    x = linear(w, "head.head", plain_norm(x, c.eps) * (1 + scale) + shift)
    x = x.unflatten(1, grid).unflatten(-1, (*c.patch[1:], c.out_channels))
    return torch.einsum("bfhwpqc->bcfhpwq", x).flatten(3, 4).flatten(4, 5)


def self_attention(b, c, x, turns):
    q = rms_norm(linear(b, "self_attn.q", x), b["self_attn.norm_q.weight"], c.eps)
    k = rms_norm(linear(b, "self_attn.k", x), b["self_attn.norm_k.weight"], c.eps)
    q, k = (rotate(one.unflatten(2, (c.heads, -1)), turns) for one in (q, k))
    out = attention(q, k, linear(b, "self_attn.v", x).unflatten(2, (c.heads, -1)))
    return linear(b, "self_attn.o", out)


def cross_attention(b, c, x, text, image, audio, frames, mask, audio_scale):
    q = rms_norm(linear(b, "cross_attn.q", x), b["cross_attn.norm_q.weight"], c.eps).unflatten(2, (c.heads, -1))

    def attend(q, source, key, value, norm):
        k = rms_norm(linear(b, f"cross_attn.{key}", source), b[f"cross_attn.{norm}.weight"], c.eps)
        v = linear(b, f"cross_attn.{value}", source)
        return attention(q, k.unflatten(2, (c.heads, -1)), v.unflatten(2, (c.heads, -1)))

    out = attend(q, text, "k", "v", "norm_k") + attend(q, image, "k_img", "v_img", "norm_k_img")
    if c.variant == "flash":
        linear(b, "cross_attn.q_audio", q.flatten(2))  # the original's result is overwritten at once
    per_frame = q.unflatten(1, (frames, -1)).flatten(0, 1)
    of_audio = attend(per_frame, audio.flatten(0, 1), "k_audio", "v_audio", "norm_k_audio") * mask
    return linear(b, "cross_attn.o", out + audio_scale * of_audio.reshape(out.shape))


def preview_tokens(w, features):
    """Projection and norm of all features, then windows of tokens with zeros at their right ends: [B, F, 17, D]."""
    tokens = layer_norm(w, "audio2token.norm", linear(w, "audio2token.proj", features))
    windows = []
    for low, high in preview_ranges(features.shape[1]):
        valid = [i for i in range(low, high + 1) if 0 <= i < features.shape[1]]
        windows.append(nn.pad(tokens[:, valid], (0, 0, 0, high + 1 - low - len(valid))))
    return torch.stack(windows, 1)


def preview_ranges(length):
    """First and last index of each latent frame's window, by the arithmetic of the original."""
    frames = length // 2
    per_frame = length / frames
    half = int(2 * per_frame)
    ranges = []
    for i in range(1, int((frames - 1) / 4) + 1):
        centre = int(per_frame * (4 * i - 1)) - 1
        ranges.append((centre - half, centre + half))
    first = ranges[0][0]
    return [(low - 4, high + 4) for low, high in [(-(2 * half - first), first), *ranges]]


def flash_tokens(w, states, count):
    """[B, T, layers, E] -> [B, F, count, D]: five states around every frame, of which groups of four keep eight."""
    frames = states.shape[1]
    near = torch.stack([states[:, [min(max(t + k, 0), frames - 1) for t in range(frames)]] for k in range(-2, 3)], 2)
    groups = near[:, 1:].unflatten(1, (-1, 4))
    groups = torch.cat([groups[:, :, 0, :3], groups[:, :, 1:3, 2], groups[:, :, 3, 2:]], 2)
    first = nn.relu(linear(w, "audio_injection.proj1", near[:, :1].flatten(2)))
    rest = nn.relu(linear(w, "audio_injection.proj1_vf", groups.flatten(2)))
    x = nn.relu(linear(w, "audio_injection.proj2", torch.cat([first, rest], 1)))
    x = linear(w, "audio_injection.proj3", x).unflatten(2, (count, -1))
    return layer_norm(w, "audio_injection.norm", x)


def linear(w, name, x):
    return nn.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))


def layer_norm(w, name, x, eps=1e-5):
    return nn.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], eps)


def plain_norm(x, eps):
    return nn.layer_norm(x, x.shape[-1:], eps=eps)


def rms_norm(x, weight, eps):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


def attention(q, k, v):
    scores = torch.einsum("blnk,bsnk->bnls", q, k) / math.sqrt(q.shape[-1])
    return torch.einsum("bnls,bsnk->blnk", scores.softmax(-1), v).flatten(2)


def rotations(grid, head_dim):
    """Unit complex numbers [L, 1, K/2] of (frame, row, column)."""
    pairs = head_dim // 2
    sizes = (pairs - 2 * (pairs // 3), pairs // 3, pairs // 3)
    places = torch.cartesian_prod(*(torch.arange(n, dtype=torch.float64) for n in grid))
    angles = [
        place[:, None] * 10_000.0 ** (-torch.arange(n, dtype=torch.float64) / n)
        for place, n in zip(places.T, sizes, strict=True)
    ]
    angle = torch.cat(angles, 1)[:, None]
    return torch.polar(torch.ones_like(angle), angle)


def rotate(x, turns):
    turned = torch.view_as_complex(x.double().unflatten(-1, (-1, 2))) * turns
    return torch.view_as_real(turned).flatten(-2).to(x.dtype)
