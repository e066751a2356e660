"""Training of the code in which a model knows puppets."""

from actavatar_jax.puppets.codec.batches import Batch, Batches, Example, Examples
from actavatar_jax.puppets.codec.settings import Settings
from actavatar_jax.puppets.codec.training import train_codec

__all__ = ["Batch", "Batches", "Example", "Examples", "Settings", "train_codec"]
