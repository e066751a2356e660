"""Names of `ConvNorm`s, of which whole networks are made."""

from collections.abc import Iterator

from actavatar_jax import functional
from actavatar_jax.weights.names import Entry, Transform

NORM = {"scale": "weight", "bias": "bias", "mean": "running_mean", "variance": "running_var"}


def conv_norms(abstract: functional.Params, convolution: str, transform: Transform) -> Iterator[Entry]:
    """The entries of a network whose attributes have the names of the file; `convolution` is its kernel's there."""
    for ours in functional.flatten(abstract):
        *layer, leaf = ours.split("/")
        theirs = f"{convolution}.weight" if leaf == "kernel" else f"bn.{NORM[leaf]}"
        yield Entry(".".join([*layer, theirs]), ours, transform if leaf == "kernel" else Entry.transform)
