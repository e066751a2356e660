"""Public weights in the files of their authors: Open-MAGVIT2's tokenizer, VFIMamba's interpolator, a loss's ArcFace."""

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from actavatar_jax import functional
from actavatar_jax.avatarsync.folder import MODULES, Part, save_part
from actavatar_jax.avatarsync.interpolation import InterpolatorConfig
from actavatar_jax.avatarsync.interpolation.names import vfimamba
from actavatar_jax.avatarsync.tokenizer import LFQConfig
from actavatar_jax.avatarsync.tokenizer.names import averaged, open_magvit
from actavatar_jax.errors import InputError
from actavatar_jax.functional import Network
from actavatar_jax.models.iresnet import IResNet, IResNetConfig
from actavatar_jax.storage import named
from actavatar_jax.weights import Safetensors, names
from actavatar_jax.weights.pth import Pth
from actavatar_jax.weights.reader import Slots
from actavatar_jax.weights.tables import iresnet

Shapes = Mapping[str, tuple[int, ...]]
MARKS = {"tokenizer": "encoder.conv_in.weight", "interpolator": "feature_bone.block0.conv.0.weight"}
WRAPPED = "module."  # before all names of a network that was trained on several devices


def import_part(file: str | Path, folder: str | Path) -> tuple[str, Part]:
    """Writes `folder/tokenizer` or `folder/interpolator`, whichever the file is; that name, and the part.

    Sizes follow from the tensors' shapes. Of a tokenizer's weights the averages are taken, where the file has them; an
    interpolator puts scans along columns where the code does that its weights were trained with (`merge="legacy"`).

    Raises:
      InputError: a file that holds neither, or not all of it, or more than tensors; PyTorch is not installed.
    """
    name, part = read_published_part(Path(file))
    save_part(Path(folder), name, part)
    return name, part


def read_published_part(file: Path) -> tuple[str, Part]:
    """What `import_part` writes. Raises as it."""
    source = _open(file)
    theirs = {name.removeprefix(WRAPPED): name for name in source.names()}
    shapes = {name: source.shape(stored) for name, stored in theirs.items()}
    found = next((part for part, mark in MARKS.items() if mark in shapes), None)
    if found is None:
        raise InputError(
            f"{named(file)} has no {' and no '.join(MARKS.values())}; accepted are files of Open-MAGVIT2's tokenizer "
            "and of VFIMamba's interpolator."
        )
    config = {"tokenizer": tokenizer_config, "interpolator": interpolator_config}[found](shapes)
    table = open_magvit(config) if found == "tokenizer" else vfimamba(config)
    if found == "tokenizer" and any(entry.theirs in shapes for entry in averaged(table)):
        table = averaged(table)
    # What else a file holds, such as the networks of the tokenizer's losses, is left in it.
    arrays = {entry.theirs: source.read(theirs[entry.theirs]) for entry in table if entry.theirs in theirs}
    abstract = functional.abstract(MODULES[found], config)
    params = names.import_params(
        table, abstract, names.Arrays(arrays), dtype="float32", model=f"the {found} in {named(file)}"
    )
    return found, Part(Network(MODULES[found], config), params)


def read_faces(file: Path) -> Part:
    """The network that tells whose face a picture shows: an IResNet of any depth, as arcface_torch stores it.

    Raises:
      InputError: a file that holds something else, or more than tensors; PyTorch is not installed.
    """
    source = _open(file)
    shapes = {name: source.shape(name) for name in source.names() if not re.fullmatch(iresnet.UNUSED, name)}
    config = IResNetConfig(
        depths=tuple(max(1, _count(shapes, rf"layer{stage}\.(\d+)\.conv1\.weight")) for stage in (1, 2, 3, 4)),
        width=shapes.get("conv1.weight", (64,))[0],
        embedding=shapes.get("fc.weight", (512,))[0],
    )
    params = names.import_params(
        iresnet.arcface_torch(config),
        functional.abstract(IResNet, config),
        source.renamed({name: name for name in shapes}),
        dtype="float32",
        model=f"the face network in {named(file)}",
    )
    return Part(Network(IResNet, config), params)


def tokenizer_config(shapes: Shapes) -> LFQConfig:
    """Sizes of an Open-MAGVIT2 tokenizer; its norms have as many groups as the published ones."""
    channels = shapes[MARKS["tokenizer"]][0]
    levels = _count(shapes, r"encoder\.down\.(\d+)\.block\.0\.conv1\.weight")
    first = [shapes.get(f"encoder.down.{level}.block.0.conv1.weight", (0,)) for level in range(levels)]
    return LFQConfig(
        channels=channels,
        multipliers=tuple(shape[0] // channels for shape in first),
        blocks=_count(shapes, r"encoder\.down\.0\.block\.(\d+)\.conv1\.weight"),
        bits=shapes.get("encoder.conv_out.weight", (0,))[0],
    )


def interpolator_config(shapes: Shapes) -> InterpolatorConfig:
    """Sizes of a VFIMamba."""
    convolutions = [_count(shapes, rf"feature_bone\.block{i}\.conv\.(\d*[02468])\.weight") for i in range(3)]
    blocks = [_count(shapes, rf"feature_bone\.block{i}\.blocks\.(\d+)\.ln_1\.weight") for i in (3, 4)]
    return InterpolatorConfig(
        channels=shapes[MARKS["interpolator"]][0], depths=(*convolutions, *blocks), merge="legacy"
    )


def _open(file: Path) -> Slots:
    return Safetensors(file) if file.suffix == ".safetensors" else Pth(file)


def _count(names: Collection[str], pattern: str) -> int:
    """Of different numbers that the group of `pattern` stands for."""
    match: Callable = re.compile(pattern).fullmatch
    return len({found[1] for name in names if (found := match(name))})
