"""What is planned for: the step of a training on batches of one size, on whatever machine."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from actavatar_jax.errors import InputError
from actavatar_jax.functional import Network
from actavatar_jax.media.clock import latent_frames
from actavatar_jax.training.groups import backbone_is_frozen, multipliers
from actavatar_jax.training.lora import abstract_params
from actavatar_jax.training.preference import REJECTED
from actavatar_jax.training.settings import TrainingSettings

# Of a sample, beside its latents: (latent grid, frames) -> {name: (shape, dtype)}.
Entries = Callable[[tuple[int, int, int], int], dict[str, tuple[tuple[int, ...], Any]]]


@dataclasses.dataclass(frozen=True)
class Workload:
    """A training's step. InputError for clips that cannot be coded."""

    network: Network  # the transformer
    training: TrainingSettings  # its lengths do not change the program
    batch_size: int
    bucket: tuple[int, int, int]  # height, width and frames of a clip
    entries: Entries
    stride: int = 16  # pixels of a side for one latent place; by default of the Wan2.2 autoencoder
    pairs: int = 0  # in a step of pairs (`training.preference`); 0: there are none
    paired: bool = False  # whether this is the step of pairs

    def __post_init__(self):
        height, width, _ = self.bucket
        if height % (2 * self.stride) or width % (2 * self.stride):
            raise InputError(
                f"A bucket of {height}x{width} cannot be coded: both sides must be multiples of {2 * self.stride}."
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

    def of_pairs(self) -> "Workload":
        """The training's other step."""
        return dataclasses.replace(self, batch_size=self.pairs, pairs=0, paired=True)

    @property
    def grid(self) -> tuple[int, int, int]:
        """Latent (T, H, W) of a clip."""
        height, width, frames = self.bucket
        return latent_frames(frames), height // self.stride, width // self.stride

    @property
    def backbone_is_frozen(self) -> bool:
        params = abstract_params(self.network, self.training.lora)
        return backbone_is_frozen(multipliers(params, self.training.rules))

    def batch(self) -> dict[str, jax.ShapeDtypeStruct]:
        """A batch as the loader gives it and the step takes it (`make_train_step`)."""
        videos = ("latents", REJECTED) if self.paired else ("latents",)
        entries = {
            **dict.fromkeys(videos, ((*self.grid, self.network.config.out_channels), jnp.bfloat16)),
            "index": ((), jnp.int32),
            **self.entries(self.grid, self.bucket[2]),
        }
        if self.paired and self.training.preference.regions:
            entries["regions"] = (self.grid, jnp.uint8)
        return {
            name: jax.ShapeDtypeStruct((self.batch_size, *shape), dtype) for name, (shape, dtype) in entries.items()
        }
