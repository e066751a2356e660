"""A learned code of what moves in a small world, and a decoder that draws it from a clean first frame."""

from actavatar_jax.models.motion.codec import MotionCodec, MotionCodecConfig
from actavatar_jax.models.motion.decoder import MotionDecoderConfig

__all__ = ["MotionCodec", "MotionCodecConfig", "MotionDecoderConfig"]
