"""The frozen parts of a model, compiled: text, speech and pictures in, features and latents out."""

from actavatar_jax.encoders.encoders import Encoders, stored_fingerprint

__all__ = ["Encoders", "stored_fingerprint"]
