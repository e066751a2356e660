"""Names of I3D in the layout of piergiaj's pytorch-i3d."""

from actavatar_jax import functional
from actavatar_jax.models.i3d import I3D, I3DConfig
from actavatar_jax.weights.names import CONV3D, LINEAR, Entry, Table, Transform, chain
from actavatar_jax.weights.tables.conv_norm import conv_norms

UNUSED = r".*\.num_batches_tracked"  # counters of newer versions of PyTorch
# A 1x1x1 convolution is a linear layer.
_POINT = chain(Transform(lambda x: x.reshape(x.shape[:2]), lambda x: x.reshape((*x.shape, 1, 1, 1))), LINEAR)


def pytorch_i3d(config: I3DConfig) -> Table:
    """`i3d_pretrained_400.pt` and other files of `InceptionI3d`."""
    layers = functional.abstract(I3D, config)
    layers.pop("logits")
    return (
        *conv_norms(layers, "conv3d", CONV3D),
        Entry("logits.conv3d.weight", "logits/kernel", _POINT),
        Entry("logits.conv3d.bias", "logits/bias"),
    )
