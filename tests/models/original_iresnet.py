"""IResNet restated in PyTorch, with the names of arcface_torch's files."""

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, inputs, outputs, first):
        super().__init__()
        self.bn1, self.bn2, self.bn3 = (nn.BatchNorm2d(n, eps=1e-5) for n in (inputs, outputs, outputs))
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride=2 if first else 1, padding=1, bias=False)
        self.prelu = nn.PReLU(outputs)
        self.downsample = None
        if first:
            point = nn.Conv2d(inputs, outputs, 1, stride=2, bias=False)
            self.downsample = nn.Sequential(point, nn.BatchNorm2d(outputs, eps=1e-5))

    def forward(self, x):
        y = self.bn3(self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(x))))))
        return y + (x if self.downsample is None else self.downsample(x))


class IResNet(nn.Module):
    def __init__(self, depths=(3, 4, 14, 3), width=64, embedding=512):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn1, self.prelu = nn.BatchNorm2d(width, eps=1e-5), nn.PReLU(width)
        inputs = width
        for stage, depth in enumerate(depths):
            outputs = width * 2**stage
            blocks = [Block(inputs if i == 0 else outputs, outputs, i == 0) for i in range(depth)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
            inputs = outputs
        self.bn2 = nn.BatchNorm2d(inputs, eps=1e-5)
        self.fc = nn.Linear(inputs * 49, embedding)
        self.features = nn.BatchNorm1d(embedding, eps=1e-5)

    def forward(self, x):
        x = self.prelu(self.bn1(self.conv1(x)))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.features(self.fc(torch.flatten(self.bn2(x), 1)))
