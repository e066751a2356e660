"""Inception v3, I3D and LPIPS with random weights, in PyTorch files as their authors'."""

from collections.abc import Iterator
from pathlib import Path

from actavatar_jax.evaluation.published import PUBLISHED


def write_measures(folder: Path) -> Iterator[tuple[Path, int]]:
    """Each file, and its parameters."""
    import torch

    from tests.evaluation import originals

    models = {
        "inception": (originals.Inception,),
        "i3d": (originals.I3D,),
        "lpips": (originals.AlexNet, originals.Heads),
    }
    for name, parts in models.items():
        for file, part in zip(PUBLISHED[name].files, parts, strict=True):
            model = originals.random_weights(part())
            torch.save(model.state_dict(), folder / file)
            yield folder / file, sum(tensor.numel() for tensor in model.parameters())
