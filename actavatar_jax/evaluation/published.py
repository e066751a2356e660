"""The published networks that measures stand on: what their files are called, where they come from, how they are read.

None of them comes with this project, and without its file a measure is not available.
"""

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.functional import Network, Params
from actavatar_jax.models.i3d import I3D, I3DConfig
from actavatar_jax.models.inception import InceptionConfig, InceptionV3
from actavatar_jax.models.lpips import LPIPS, LPIPSConfig
from actavatar_jax.published import FILES
from actavatar_jax.storage import named
from actavatar_jax.weights import Safetensors, names
from actavatar_jax.weights.files import is_file, is_safetensors, opened
from actavatar_jax.weights.pth import Pth
from actavatar_jax.weights.reader import Slots
from actavatar_jax.weights.tables import i3d, inception, lpips


@dataclasses.dataclass(frozen=True)
class Published:
    """One network and its files; `unused` is the regex of tensors in them that nothing here needs."""

    title: str
    network: Network
    table: Callable[[Any], names.Table]
    unused: str
    files: tuple[str, ...]


PUBLISHED = {
    "inception": Published(
        "Inception v3 of 2015-12-05",
        Network(InceptionV3, InceptionConfig()),
        inception.pytorch_fid,
        inception.UNUSED,
        ("pt_inception-2015-12-05-6726825d.pth",),
    ),
    "i3d": Published(
        "I3D of Kinetics-400, logits",
        Network(I3D, I3DConfig()),
        i3d.pytorch_i3d,
        i3d.UNUSED,
        ("i3d_pretrained_400.pt",),
    ),
    "lpips": Published(
        "AlexNet with LPIPS 0.1",
        Network(LPIPS, LPIPSConfig()),
        lpips.alex,
        lpips.UNUSED,
        ("alexnet-owt-7be5be79.pth", "alex.pth"),
    ),
}


def read_published(name: str, measure: str, paths: Sequence[str | Path | None]) -> Params:
    """The parameters of one of `PUBLISHED` from its files, PyTorch's own or safetensors, on the default device.

    Raises:
      InputError: `measure` is not available, because a file was not given, is not there, or holds something else.
    """
    published, network = PUBLISHED[name], PUBLISHED[name].network
    tensors = Slots({})
    for path, file in zip(paths, published.files, strict=True):
        tensors = _open(require_file(measure, path, file)).over(tensors)
    used = [name for name in tensors.names() if not re.fullmatch(published.unused, name)]
    params = names.import_params(
        published.table(network.config),
        functional.abstract(network.module, network.config),
        tensors.renamed({name: name for name in used}),
        dtype="float32",
        model=f"{measure}'s {published.title} of {' and '.join(named(path) for path in paths)}",
    )
    return jax.device_put(params)


def require_file(measure: str, path: str | Path | None, file: str) -> Path:
    """The path, or InputError that the measure is not available: one reason, and where the file comes from."""
    need = f"{measure} is not available: it needs {file}, which is in {FILES[file].origin}"
    if path is None:
        raise InputError(f"{need}; no path to it was given.")
    if not is_file(Path(path)):
        raise InputError(f"{need}; there is no file {named(path)}.")
    return Path(path)


def _open(path: Path) -> Slots:
    with opened(path) as (_, head):
        pass
    return Safetensors(path) if is_safetensors(head) else Pth(path)
