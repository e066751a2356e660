"""Names of the Inception v3 of the Frechet distance in pytorch-fid's file."""

from actavatar_jax import functional
from actavatar_jax.models.inception import InceptionConfig, InceptionV3
from actavatar_jax.weights.names import CONV2D, Table
from actavatar_jax.weights.tables.conv_norm import conv_norms

# Of the rest of the file: the classifier, and counters of newer versions of PyTorch.
UNUSED = r"fc\.(weight|bias)|.*\.num_batches_tracked"


def pytorch_fid(config: InceptionConfig) -> Table:
    """`pt_inception-2015-12-05-6726825d.pth`, which has torchvision's names, up to the features."""
    return tuple(conv_norms(functional.abstract(InceptionV3, config), "conv", CONV2D))
