"""The networks that measure, restated in PyTorch under the names of their files, with random weights."""

import torch
from torch import nn


def random_weights(model: nn.Module, seed: int = 0) -> nn.Module:
    """Every tensor random, at a scale that lets signals through; statistics of batch norms included."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        noise = torch.randn(tensor.shape, generator=generator)
        if tensor.ndim > 1:
            tensor.copy_(noise.abs() if name.startswith("lin") else noise * (2 / tensor[0].numel()) ** 0.5)
        elif name.endswith(("running_var", "bn.weight")):
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
        elif tensor.is_floating_point():
            tensor.copy_(0.3 * noise)
    return model.eval()


# ---- Inception v3


class Unit2d(nn.Module):
    def __init__(self, inputs, outputs, size, stride=1, padding=0):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x):
        return nn.functional.relu(self.bn(self.conv(x)))


def chained(units, x):
    for unit in units:
        x = unit(x)
    return x


class Block2d(nn.Module):
    """Branches by name, each of units by the suffix of their names; `forks` end in two units side by side.

    `rest` makes the last branch: a pool before `branch_pool` where there is such a unit.
    """

    def __init__(self, divide, inputs, branches, rest, forks=()):
        super().__init__()
        self.names, self.forks, self.rest = {}, forks, rest
        for branch, units in branches.items():
            width = inputs // divide
            for suffix, (outputs, *form) in units.items():
                self.add_module(branch + suffix, Unit2d(width, outputs // divide, *form))
                width = width if suffix.endswith("a") else outputs // divide
            self.names[branch] = [branch + suffix for suffix in units]

    def forward(self, x):
        outputs = []
        for branch, names in self.names.items():
            units = [getattr(self, name) for name in names]
            if branch == "branch_pool":
                outputs.append(chained(units, self.rest(x)))
            elif branch in self.forks:
                y = chained(units[:-2], x)
                outputs += [unit(y) for unit in units[-2:]]
            else:
                outputs.append(chained(units, x))
        return torch.cat(outputs if "branch_pool" in self.names else [*outputs, self.rest(x)], 1)


def mean_without_padding(x):
    return nn.functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def largest(x):
    return nn.functional.max_pool2d(x, 3, stride=1, padding=1)


def halved(x):
    return nn.functional.max_pool2d(x, 3, stride=2)


ROW7, COLUMN7 = ((1, 7), 1, (0, 3)), ((7, 1), 1, (3, 0))
ROW3, COLUMN3 = ((1, 3), 1, (0, 1)), ((3, 1), 1, (1, 0))


def block_a(d, inputs, pooled):
    return Block2d(d, inputs, {
        "branch1x1": {"": (64, 1)},
        "branch5x5": {"_1": (48, 1), "_2": (64, 5, 1, 2)},
        "branch3x3dbl": {"_1": (64, 1), "_2": (96, 3, 1, 1), "_3": (96, 3, 1, 1)},
        "branch_pool": {"": (pooled, 1)},
    }, mean_without_padding)  # fmt: skip


def block_b(d):
    return Block2d(d, 288, {
        "branch3x3": {"": (384, 3, 2)},
        "branch3x3dbl": {"_1": (64, 1), "_2": (96, 3, 1, 1), "_3": (96, 3, 2)},
    }, halved)  # fmt: skip


def block_c(d, n):
    return Block2d(d, 768, {
        "branch1x1": {"": (192, 1)},
        "branch7x7": {"_1": (n, 1), "_2": (n, *ROW7), "_3": (192, *COLUMN7)},
        "branch7x7dbl": {
            "_1": (n, 1), "_2": (n, *COLUMN7), "_3": (n, *ROW7), "_4": (n, *COLUMN7), "_5": (192, *ROW7),
        },
        "branch_pool": {"": (192, 1)},
    }, mean_without_padding)  # fmt: skip


def block_d(d):
    return Block2d(d, 768, {
        "branch3x3": {"_1": (192, 1), "_2": (320, 3, 2)},
        "branch7x7x3": {"_1": (192, 1), "_2": (192, *ROW7), "_3": (192, *COLUMN7), "_4": (192, 3, 2)},
    }, halved)  # fmt: skip


def block_e(d, inputs, pool):
    return Block2d(d, inputs, {
        "branch1x1": {"": (320, 1)},
        "branch3x3": {"_1": (384, 1), "_2a": (384, *ROW3), "_2b": (384, *COLUMN3)},
        "branch3x3dbl": {"_1": (448, 1), "_2": (384, 3, 1, 1), "_3a": (384, *ROW3), "_3b": (384, *COLUMN3)},
        "branch_pool": {"": (192, 1)},
    }, pool, forks=("branch3x3", "branch3x3dbl"))  # fmt: skip


class Inception(nn.Module):
    def __init__(self, divide=1):
        super().__init__()
        d = divide
        self.Conv2d_1a_3x3 = Unit2d(3, 32 // d, 3, 2)
        self.Conv2d_2a_3x3 = Unit2d(32 // d, 32 // d, 3)
        self.Conv2d_2b_3x3 = Unit2d(32 // d, 64 // d, 3, 1, 1)
        self.Conv2d_3b_1x1 = Unit2d(64 // d, 80 // d, 1)
        self.Conv2d_4a_3x3 = Unit2d(80 // d, 192 // d, 3)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = block_a(d, 192, 32), block_a(d, 256, 64), block_a(d, 288, 64)
        self.Mixed_6a, self.Mixed_6b, self.Mixed_6c = block_b(d), block_c(d, 128), block_c(d, 160)
        self.Mixed_6d, self.Mixed_6e, self.Mixed_7a = block_c(d, 160), block_c(d, 192), block_d(d)
        self.Mixed_7b, self.Mixed_7c = block_e(d, 1280, mean_without_padding), block_e(d, 2048, largest)
        self.fc = nn.Linear(2048 // d, 1008)

    def forward(self, x):
        x = halved(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))))
        x = halved(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)))
        mixed = [module for name, module in self.named_children() if name.startswith("Mixed")]
        return chained(mixed, x).mean((2, 3))


# ---- I3D


def padded_as_in_tensorflow(x, size, stride):
    """Zeros before and behind; what is odd goes behind."""
    pads = []
    for side, k, s in zip(x.shape[2:], size, stride, strict=True):
        missing = max((-(-side // s) - 1) * s + k - side, 0)
        pads = [missing // 2, missing - missing // 2, *pads]
    return nn.functional.pad(x, pads)


class Unit3d(nn.Module):
    def __init__(self, inputs, outputs, side, stride=1):
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, side, stride, bias=False)
        self.bn = nn.BatchNorm3d(outputs, eps=0.001)

    def forward(self, x):
        padded = padded_as_in_tensorflow(x, self.conv3d.kernel_size, self.conv3d.stride)
        return nn.functional.relu(self.bn(self.conv3d(padded)))


def pooled(x, size, stride):
    """Of what went through a ReLU, so that zeros around it count for nothing."""
    return nn.functional.max_pool3d(padded_as_in_tensorflow(x, size, stride), size, stride)


class Mixed(nn.Module):
    def __init__(self, divide, inputs, b0, b1a, b1b, b2a, b2b, b3b):
        super().__init__()
        i, b0, b1a, b1b, b2a, b2b, b3b = (width // divide for width in (inputs, b0, b1a, b1b, b2a, b2b, b3b))
        self.b0, self.b3b = Unit3d(i, b0, 1), Unit3d(i, b3b, 1)
        self.b1a, self.b1b, self.b2a, self.b2b = (
            Unit3d(i, b1a, 1),
            Unit3d(b1a, b1b, 3),
            Unit3d(i, b2a, 1),
            Unit3d(b2a, b2b, 3),
        )

    def forward(self, x):
        last = self.b3b(pooled(x, (3, 3, 3), (1, 1, 1)))
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), last], 1)


class Logits(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, 1)


class I3D(nn.Module):
    """For videos of `side` pixels; the published network has 224 and 400 outputs."""

    def __init__(self, divide=1, outputs=400, side=224):
        super().__init__()
        d = divide
        self.side = side
        self.Conv3d_1a_7x7 = Unit3d(3, 64 // d, 7, 2)
        self.Conv3d_2b_1x1, self.Conv3d_2c_3x3 = Unit3d(64 // d, 64 // d, 1), Unit3d(64 // d, 192 // d, 3)
        self.Mixed_3b = Mixed(d, 192, 64, 96, 128, 16, 32, 32)
        self.Mixed_3c = Mixed(d, 256, 128, 128, 192, 32, 96, 64)
        self.Mixed_4b = Mixed(d, 480, 192, 96, 208, 16, 48, 64)
        self.Mixed_4c = Mixed(d, 512, 160, 112, 224, 24, 64, 64)
        self.Mixed_4d = Mixed(d, 512, 128, 128, 256, 24, 64, 64)
        self.Mixed_4e = Mixed(d, 512, 112, 144, 288, 32, 64, 64)
        self.Mixed_4f = Mixed(d, 528, 256, 160, 320, 32, 128, 128)
        self.Mixed_5b = Mixed(d, 832, 256, 160, 320, 32, 128, 128)
        self.Mixed_5c = Mixed(d, 832, 384, 192, 384, 48, 128, 128)
        self.logits = Logits(1024 // d, outputs)

    def forward(self, x):
        x = pooled(self.Conv3d_1a_7x7(x), (1, 3, 3), (1, 2, 2))
        x = pooled(self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x)), (1, 3, 3), (1, 2, 2))
        x = pooled(self.Mixed_3c(self.Mixed_3b(x)), (3, 3, 3), (2, 2, 2))
        x = chained([self.Mixed_4b, self.Mixed_4c, self.Mixed_4d, self.Mixed_4e, self.Mixed_4f], x)
        x = self.Mixed_5c(self.Mixed_5b(pooled(x, (2, 2, 2), (2, 2, 2))))
        x = nn.functional.avg_pool3d(x, (2, self.side // 32, self.side // 32), stride=1)
        return self.logits.conv3d(x).flatten(2).mean(2)


# ---- LPIPS


class AlexNet(nn.Module):
    """As torchvision has it."""

    def __init__(self, divide=1):
        super().__init__()
        a, b, c, e, f = (width // divide for width in (64, 192, 384, 256, 256))
        self.features = nn.Sequential(
            nn.Conv2d(3, a, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(a, b, 5, 1, 2), nn.ReLU(),
            nn.MaxPool2d(3, 2), nn.Conv2d(b, c, 3, 1, 1), nn.ReLU(), nn.Conv2d(c, e, 3, 1, 1), nn.ReLU(),
            nn.Conv2d(e, f, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(3, 2),
        )  # fmt: skip
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(36 * f, 8))


class Heads(nn.Module):
    """The file of lpips: a 1x1 convolution to one channel behind a dropout, for every stage."""

    def __init__(self, divide=1):
        super().__init__()
        for i, width in enumerate((64, 192, 384, 256, 256)):
            head = nn.Module()
            head.model = nn.Sequential(nn.Dropout(), nn.Conv2d(width // divide, 1, 1, bias=False))
            self.add_module(f"lin{i}", head)


def lpips(trunk, heads, one, other):
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    total = 0
    x, y = ((z - shift[:, None, None]) / scale[:, None, None] for z in (one, other))
    stages = iter(heads.children())
    for layer in trunk.features[:12]:
        x, y = layer(x), layer(y)
        if isinstance(layer, nn.ReLU):
            unit_x, unit_y = (z / (z.square().sum(1, keepdim=True).sqrt() + 1e-10) for z in (x, y))
            total = total + next(stages).model((unit_x - unit_y).square()).mean((1, 2, 3))
    return total
