"""Names of LPIPS in its two files: torchvision's AlexNet, and lpips's weights of its features."""

from actavatar_jax.models.lpips import WIDTHS, LPIPSConfig
from actavatar_jax.weights.names import CONV2D, Entry, Table, Transform

_CONVOLUTIONS = (0, 3, 6, 8, 10)  # their numbers in torchvision's `features`
_COLUMN = Transform(lambda x: x.reshape(-1), lambda x: x.reshape((1, *x.shape, 1, 1)))

UNUSED = r"classifier\..*"  # of AlexNet


def alex(config: LPIPSConfig) -> Table:
    """`alexnet-owt-7be5be79.pth` and `lpips/weights/v0.1/alex.pth` together."""
    entries = []
    for i in range(len(WIDTHS)):
        theirs = f"features.{_CONVOLUTIONS[i]}"
        entries.append(Entry(f"{theirs}.weight", f"stages/{i}/kernel", CONV2D))
        entries.append(Entry(f"{theirs}.bias", f"stages/{i}/bias"))
        entries.append(Entry(f"lin{i}.model.1.weight", f"weights/{i}", _COLUMN))
    return tuple(entries)
