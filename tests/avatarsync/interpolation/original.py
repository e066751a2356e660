"""VFIMamba restated in PyTorch, from its tensors by their names, without CUDA: the scan is a loop."""

import torch
from torch.nn import functional as F  # noqa: N812 - its usual name


def interpolate(weights, config, first, second, t):
    """NCHW frames in [0, 1] whose sides are multiples of 32 -> the frame at t, and the blends of both heads."""
    features = _backbone(weights, config, torch.cat([first, second]))
    half = len(first)
    time = torch.full_like(first[:, :1], t)
    flow, mask, blends = None, None, []
    for i, level in enumerate((4, 3)):
        both = torch.cat([features[level][:half], features[level][half:]], 1)
        if flow is None:
            flow, mask = _head(weights, f"block.{i}", 2**level, both, [first, second, time], None)
        else:
            warped = _warp(first, flow[:, :2]), _warp(second, flow[:, 2:])
            more = _head(weights, f"block.{i}", 2**level, both, [first, second, *warped, mask, time], flow)
            flow, mask = flow + more[0], mask + more[1]
        share = torch.sigmoid(mask)
        blends.append(_warp(first, flow[:, :2]) * share + _warp(second, flow[:, 2:]) * (1 - share))
    for i, scale in enumerate((2, 1)):
        warped = _warp(first, flow[:, :2]), _warp(second, flow[:, 2:])
        more = _local(weights, f"local_block.{i}", scale, torch.cat([first, second, *warped, mask], 1), flow)
        flow, mask = flow + more[0], mask + more[1]
    warped = _warp(first, flow[:, :2]), _warp(second, flow[:, 2:])
    residual = _unet(weights, [first, second, *warped, mask, flow], features, flow, half)
    share = torch.sigmoid(mask)
    return (warped[0] * share + warped[1] * (1 - share) + residual).clamp(0, 1), blends


def _backbone(weights, config, x):
    features = []
    for stage in range(5):
        embed, block = f"feature_bone.patch_embed{stage}", f"feature_bone.block{stage}"
        if stage in (1, 2):
            x = _prelu(weights, f"{embed}.1", _conv(weights, f"{embed}.0", x, stride=2))
        if stage < 3:
            for i in range(config.depths[stage]):
                x = _prelu(weights, f"{block}.conv.{2 * i + 1}", _conv(weights, f"{block}.conv.{2 * i}", x))
        else:
            x = _conv(weights, f"{embed}.proj", _norm(weights, f"{embed}.norm", x), stride=2)
            for i in range(config.depths[stage]):
                x = _block(weights, f"{block}.blocks.{i}", x)
        features.append(x)
    return features


def _block(weights, name, x):
    scale, scale2 = (weights[f"{name}.{one}"][None, :, None, None] for one in ("skip_scale", "skip_scale2"))
    x = x * scale + _mix(weights, f"{name}.self_attention", _norm(weights, f"{name}.ln_1", x))
    cab = f"{name}.conv_blk.cab"
    y = _conv(weights, f"{cab}.2", F.gelu(_conv(weights, f"{cab}.0", _norm(weights, f"{name}.ln_2", x))))
    small = F.relu(_conv(weights, f"{cab}.3.attention.1", y.mean((2, 3), keepdim=True), padding=0))
    return x * scale2 + y * torch.sigmoid(_conv(weights, f"{cab}.3.attention.3", small, padding=0))


def _mix(weights, name, x):
    both, H, W = x.shape[0], x.shape[2], x.shape[3]
    half = both // 2
    x, z = F.linear(x.permute(0, 2, 3, 1), weights[f"{name}.in_proj.weight"]).chunk(2, -1)
    D = x.shape[-1]
    kernel, bias = weights[f"{name}.conv2d.weight"], weights[f"{name}.conv2d.bias"]
    x = F.silu(F.conv2d(x.permute(0, 3, 1, 2), kernel, bias, padding=1, groups=D))
    pair = torch.stack([x[:half], x[half:]], -1)  # P D H W 2
    rows, columns = pair.flatten(2), pair.transpose(2, 3).flatten(2)
    orders = [rows, columns, rows.flip(-1), columns.flip(-1)]
    y = [_scan(weights, name, k, order) for k, order in enumerate(orders)]
    by_columns = (y[1] + y[3].flip(-1)).reshape(half, D, 2, W, H).transpose(-1, -2).flatten(2)
    merged = (y[0] + y[2].flip(-1) + by_columns).reshape(half, D, H, W, 2)
    merged = torch.cat([merged[..., 0], merged[..., 1]]).permute(0, 2, 3, 1)
    gain, bias = weights[f"{name}.out_norm.weight"], weights[f"{name}.out_norm.bias"]
    merged = F.layer_norm(merged, (D,), gain, bias, 1e-5)
    return F.linear(merged * F.silu(z), weights[f"{name}.out_proj.weight"]).permute(0, 3, 1, 2)


def _scan(weights, name, k, x):
    """x [P, D, L]."""
    D, L = x.shape[1:]
    told = torch.einsum("pdl,ed->pel", x, weights[f"{name}.x_proj_weight"][k])
    decays = -torch.exp(weights[f"{name}.A_logs"]).reshape(4, D, -1)[k]
    state = decays.shape[-1]
    dt, b, c = told.split([told.shape[1] - 2 * state, state, state], 1)
    dt = torch.einsum("prl,dr->pdl", dt, weights[f"{name}.dt_projs_weight"][k])
    delta = F.softplus(dt + weights[f"{name}.dt_projs_bias"][k][None, :, None])
    h, outputs = torch.zeros(len(x), D, state), []
    for i in range(L):
        h = torch.exp(delta[:, :, i, None] * decays) * h + (delta[:, :, i] * x[:, :, i])[..., None] * b[:, None, :, i]
        outputs.append((h * c[:, None, :, i]).sum(-1))
    return torch.stack(outputs, -1) + weights[f"{name}.Ds"].reshape(4, D)[k][None, :, None] * x


def _head(weights, name, scale, features, pictures, flow):
    features = F.pixel_shuffle(F.pixel_shuffle(features, 2), 2)
    seen = [features, _resize(torch.cat(pictures, 1), 4 / scale)]
    seen += [] if flow is None else [_resize(flow, 4 / scale) * 4 / scale]
    x = torch.cat(seen, 1)
    for i in range(3):
        x = _unit(weights, f"{name}.conv.{i}", x)
    x = _resize(x, scale / 4)
    return x[:, :4] * (scale // 4), x[:, 4:5]


def _local(weights, name, scale, pictures, flow):
    x = torch.cat([_resize(pictures, 1 / scale), _resize(flow, 1 / scale) / scale], 1)
    for i in range(2):
        x = _unit(weights, f"{name}.conv0.{i}", x, stride=2)
    y = x
    for i in range(8):
        y = _unit(weights, f"{name}.convblock.{i}", y)
    last = f"{name}.lastconv"
    x = F.conv_transpose2d(x + y, weights[f"{last}.weight"], weights[f"{last}.bias"], stride=2, padding=1)
    x = _resize(x, 2 * scale)
    return x[:, :4] * 2 * scale, x[:, 4:5]


def _unet(weights, seen, features, flow, half):
    warped = []
    for level in features:
        warped.append(torch.cat([_warp(level[:half], flow[:, :2]), _warp(level[half:], flow[:, 2:])], 1))
        flow = _resize(flow, 0.5) * 0.5
    x, passed = torch.cat(seen, 1), []
    for i in range(4):
        x = _unit(weights, f"unet.down{i}.conv1", torch.cat([x, warped[i]], 1), stride=2)
        x = _unit(weights, f"unet.down{i}.conv2", x)
        passed.append(x)
    for i, other in enumerate((warped[4], passed[2], passed[1], passed[0])):
        name = f"unet.up{i}"
        x = torch.cat([x, other], 1)
        x = F.conv_transpose2d(x, weights[f"{name}.0.weight"], weights[f"{name}.0.bias"], stride=2, padding=1)
        x = _prelu(weights, f"{name}.1", x)
    return 2 * torch.sigmoid(_conv(weights, "unet.conv", x)) - 1


def _warp(x, flow):
    H, W = x.shape[2:]
    rows, columns = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    across, down = columns[None] + flow[:, 0], rows[None] + flow[:, 1]
    grid = torch.stack([2 * across / max(W - 1, 1) - 1, 2 * down / max(H - 1, 1) - 1], -1)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=True)


def _resize(x, scale):
    if scale == 1:
        return x
    return F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False, recompute_scale_factor=False)


def _unit(weights, name, x, stride=1):
    return _prelu(weights, f"{name}.1", _conv(weights, f"{name}.0", x, stride))


def _norm(weights, name, x):
    gain, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    return F.layer_norm(x.permute(0, 2, 3, 1), gain.shape, gain, bias, 1e-5).permute(0, 3, 1, 2)


def _prelu(weights, name, x):
    return F.prelu(x, weights[f"{name}.weight"])


def _conv(weights, name, x, stride=1, padding=1):
    return F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], stride, padding)
