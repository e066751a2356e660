"""Names of SyncNet's tensors in `syncnet_v2.model`, its authors' file of PyTorch tensors."""

from collections.abc import Iterator

from actavatar_jax.models.syncnet import LIPS, SOUND, SyncNetConfig
from actavatar_jax.weights.names import (
    CONV2D,
    CONV3D,
    IDENTITY,
    Entry,
    Table,
    TensorSource,
    Transform,
    chain,
    linear,
    norm,
    reshape,
)

_CONVS = (0, 4, 8, 11, 14, 18)  # places in a tower; each batch norm stands behind its convolution
_TOWERS = (("lip_tower", "netcnnlip"), ("sound_tower", "netcnnaud"))
_HEADS = (("lip_head", "netfclip"), ("sound_head", "netfcaud"))


def original(config: SyncNetConfig) -> Table:
    """`syncnet_v2.model`."""
    kernels = {"lip_tower": list(_lip_kernels(config)), "sound_tower": [CONV2D] * len(SOUND)}
    entries = []
    for ours, theirs in _TOWERS:
        for i, (place, kernel) in enumerate(zip(_CONVS, kernels[ours], strict=True)):
            layer = f"{ours}/layers/{i}"
            entries += [
                Entry(f"{theirs}.{place}.weight", f"{layer}/conv/kernel", kernel),
                Entry(f"{theirs}.{place}.bias", f"{layer}/conv/bias"),
                *_batch_norm(f"{theirs}.{place + 1}", f"{layer}/norm"),
            ]
    for ours, theirs in _HEADS:
        entries += linear(f"{theirs}.0", f"{ours}/hidden")
        entries += _batch_norm(f"{theirs}.1", f"{ours}/norm")
        entries += linear(f"{theirs}.3", f"{ours}/out")
    return tuple(entries)


def canonical(name: str) -> str | None:
    """The table's name of a tensor found in a file; `None` for counts of training steps, which newer PyTorch adds."""
    return None if name.endswith(".num_batches_tracked") else name


def read_config(source: TensorSource) -> SyncNetConfig:
    """The sizes of the network in a file, by its biases; the published one where there is none."""
    names, published = set(source.names()), SyncNetConfig()

    def width(name: str, usual: int) -> int:
        return source.shape(name)[0] if name in names and len(source.shape(name)) == 1 else usual

    def widths(tower: str, usual: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(width(f"{tower}.{place}.bias", n) for place, n in zip(_CONVS, usual, strict=True))

    return SyncNetConfig(
        lips=widths("netcnnlip", published.lips),
        sound=widths("netcnnaud", published.sound),
        hidden=width("netfclip.0.bias", published.hidden),
        features=width("netfclip.3.bias", published.features),
    )


def _lip_kernels(config: SyncNetConfig) -> Iterator[Transform]:
    """Theirs are all kernels in space and time, but of one frame after the first."""
    yield CONV3D
    for stage, into, out in zip(LIPS[1:], config.lips, config.lips[1:], strict=False):
        yield chain(reshape((out, into, 1, *stage.kernel), (out, into, *stage.kernel)), CONV2D)


def _batch_norm(theirs: str, ours: str) -> list[Entry]:
    return [
        *norm(theirs, ours),
        Entry(f"{theirs}.running_mean", f"{ours}/mean", IDENTITY),
        Entry(f"{theirs}.running_var", f"{ours}/var", IDENTITY),
    ]
