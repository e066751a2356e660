"""What is planned for: the step of a training on batches of one size, on whatever machine."""

import dataclasses

import jax
import jax.numpy as jnp

from actavatar_jax.errors import InputError
from actavatar_jax.functional import Network
from actavatar_jax.media.clock import latent_frames
from actavatar_jax.training.groups import backbone_is_frozen, multipliers
from actavatar_jax.training.lora import abstract_params
from actavatar_jax.training.settings import TrainingSettings

STRIDE = 16  # pixels of a side for one latent place, of the Wan2.2 autoencoder, which full-size models have


@dataclasses.dataclass(frozen=True)
class Workload:
    """A training's step. InputError for clips that cannot be coded."""

    network: Network  # the transformer
    training: TrainingSettings  # its lengths do not change the program
    batch_size: int
    bucket: tuple[int, int, int]  # height, width and frames of a clip

    def __post_init__(self):
        height, width, _ = self.bucket
        if height % (2 * STRIDE) or width % (2 * STRIDE):
            raise InputError(
                f"A bucket of {height}x{width} cannot be coded: both sides must be multiples of {2 * STRIDE}."
            )

    def changed(
        self, *, platform: str | None = None, remat: str | None = None, micro_batches: int | None = None
    ) -> "Workload":
        """A copy that is computed otherwise, but for what is None."""
        how = {name: value for name, value in (("platform", platform), ("remat", remat)) if value}
        execution = dataclasses.replace(self.network.execution, **how)
        return dataclasses.replace(
            self,
            network=dataclasses.replace(self.network, execution=execution),
            training=dataclasses.replace(self.training, micro_batches=micro_batches or self.training.micro_batches),
        )

    @property
    def grid(self) -> tuple[int, int, int]:
        """Latent (T, H, W) of a clip."""
        height, width, frames = self.bucket
        return latent_frames(frames), height // STRIDE, width // STRIDE

    @property
    def backbone_is_frozen(self) -> bool:
        params = abstract_params(self.network, self.training.lora)
        return backbone_is_frozen(multipliers(params, self.training.rules))

    def batch(self) -> dict[str, jax.ShapeDtypeStruct]:
        """A batch as the loader gives it and the step takes it (`make_train_step`)."""
        m = self.network.config
        entries = {
            "latents": ((*self.grid, m.in_channels), jnp.bfloat16),
            "text": ((m.text_len, m.text_dim), jnp.bfloat16),
            "phase_ids": ((m.text_len,), jnp.int32),
            "phase_windows": ((m.max_phases, 2), jnp.float32),
            "audio": ((self.bucket[2], m.audio.feature_layers, m.audio.feature_width), jnp.float16),
            "index": ((), jnp.int32),
        }
        return {
            name: jax.ShapeDtypeStruct((self.batch_size, *shape), dtype) for name, (shape, dtype) in entries.items()
        }
