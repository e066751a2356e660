"""ActAvatarDiT: the transformer, its audio adapter, and what tells it of time and place."""

from actavatar_jax.models.avatar.audio_adapter import AudioAdapterConfig
from actavatar_jax.models.avatar.config import FLOAT32, Conditions, DiTConfig
from actavatar_jax.models.avatar.model import ActAvatarDiT

__all__ = ["FLOAT32", "ActAvatarDiT", "AudioAdapterConfig", "Conditions", "DiTConfig"]
