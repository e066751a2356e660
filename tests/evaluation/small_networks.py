"""Narrow forms of the published networks with random weights, in files as they are published."""

import dataclasses
import functools

import torch

from actavatar_jax.evaluation import features, pairs, published
from tests.evaluation import originals

INCEPTION_SIDE, I3D_SIDE = 107, 64
PARTS = {  # of each network the restated models that are its files
    "inception": {"inception.pth": originals.Inception},
    "i3d": {"i3d.pt": lambda narrowing: originals.I3D(narrowing, side=I3D_SIDE)},
    "lpips": {"alexnet.pth": originals.AlexNet, "heads.pth": originals.Heads},
}
NARROWING = {"inception": 16, "i3d": 8, "lpips": 16}


def use(monkeypatch, folder):
    """Makes the published networks narrow and their pictures small, and writes their files into a folder.

    Gives the restated models by file. A file is read once.
    """
    narrow, models = {}, {}
    for name, one in published.PUBLISHED.items():
        config = dataclasses.replace(one.network.config, narrowing=NARROWING[name])
        narrow[name] = dataclasses.replace(one, network=dataclasses.replace(one.network, config=config))
        for file, model in PARTS[name].items():
            models[file] = originals.random_weights(model(NARROWING[name]))
            torch.save(models[file].state_dict(), folder / file)
    read = functools.cache(lambda name, measure, *paths: published.read_published(name, measure, paths))
    for module in (features, pairs):
        monkeypatch.setattr(module, "PUBLISHED", narrow)
        monkeypatch.setattr(module, "read_published", lambda name, measure, paths: read(name, measure, *paths))
    monkeypatch.setattr(published, "PUBLISHED", narrow)
    for name, value in {"IMAGES": 4, "CLIP_FRAMES": 20, "INCEPTION_SIDE": INCEPTION_SIDE, "I3D_SIDE": I3D_SIDE}.items():
        monkeypatch.setattr(features, name, value)
    return models
