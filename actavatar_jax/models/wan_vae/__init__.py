"""The VAEs of Wan2.2 and Wan2.1."""

from actavatar_jax.models.wan_vae.config import VAEConfig, Wan21VAEConfig
from actavatar_jax.models.wan_vae.vae import WanVAE

__all__ = ["VAEConfig", "Wan21VAEConfig", "WanVAE"]
