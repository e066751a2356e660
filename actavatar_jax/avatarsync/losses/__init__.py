"""What the three networks are trained by; each is a `training.parts.Loss`."""

from actavatar_jax.avatarsync.losses.between import BetweenLoss
from actavatar_jax.avatarsync.losses.pixels import PixelLoss
from actavatar_jax.avatarsync.losses.reconstruction import ReconstructionLoss
from actavatar_jax.avatarsync.losses.tokens import TokenLoss

__all__ = ["BetweenLoss", "PixelLoss", "ReconstructionLoss", "TokenLoss"]
