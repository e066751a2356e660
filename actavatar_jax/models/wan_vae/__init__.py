"""The Wan2.2 VAE."""

from actavatar_jax.models.wan_vae.vae import VAEConfig, WanVAE

__all__ = ["VAEConfig", "WanVAE"]
