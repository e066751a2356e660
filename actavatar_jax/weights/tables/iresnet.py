"""Names of an IResNet in arcface_torch's files (`backbone.pth`)."""

from actavatar_jax.models.iresnet import LAST, IResNetConfig
from actavatar_jax.weights.names import CONV2D, Entry, Table, chain, reshape, transpose
from actavatar_jax.weights.tables.conv_norm import NORM

UNUSED = r".*\.num_batches_tracked"


def arcface_torch(config: IResNetConfig) -> Table:
    """All tensors but the counters of the norms."""
    entries = [Entry("conv1.weight", "kernel", CONV2D), *_norm("bn1", "norm"), Entry("prelu.weight", "slope")]
    for stage, depth in enumerate(config.depths):
        for i in range(depth):
            theirs, ours = f"layer{stage + 1}.{i}", f"stages/{stage}/{i}"
            entries += [entry for n in (1, 2, 3) for entry in _norm(f"{theirs}.bn{n}", f"{ours}/norm{n}")]
            entries += [Entry(f"{theirs}.conv{n}.weight", f"{ours}/kernel{n}", CONV2D) for n in (1, 2)]
            entries.append(Entry(f"{theirs}.prelu.weight", f"{ours}/slope"))
            if i == 0:
                entries.append(Entry(f"{theirs}.downsample.0.weight", f"{ours}/shortcut", CONV2D))
                entries += _norm(f"{theirs}.downsample.1", f"{ours}/shortcut_norm")
    # A linear layer over places and channels; theirs has the channels first.
    channels, numbers = config.widths[-1], config.embedding
    places = reshape((numbers, channels * LAST**2), (numbers, channels, LAST, LAST))
    entries += [*_norm("bn2", "norm_out"), Entry("fc.bias", "fc_bias")]
    entries.append(Entry("fc.weight", "fc", chain(places, transpose(2, 3, 1, 0))))
    return (*entries, *_norm("features", "norm_embedding"))


def _norm(theirs: str, ours: str) -> list[Entry]:
    return [Entry(f"{theirs}.{name}", f"{ours}/{leaf}") for leaf, name in NORM.items()]
