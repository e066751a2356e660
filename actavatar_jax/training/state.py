"""What a training run carries from step to step."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from actavatar_jax.models.functional import Params
from actavatar_jax.training.stages import merge


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Master weights are float32; `opt_state` and `ema` exist for the trained half only."""

    step: Int[Array, ""]  # steps done
    params: Params  # trained
    frozen: Params
    opt_state: Any
    ema: Params | None = None  # running average of `params`, or None when switched off

    @classmethod
    def create(
        cls, params: Params, frozen: Params, tx: optax.GradientTransformation, ema: bool = False
    ) -> "TrainState":
        """State before the first step. It takes over `params` and `frozen`: the first step reuses their memory."""
        params, frozen = jax.tree.map(jnp.asarray, (params, frozen))
        average = jax.tree.map(jnp.copy, params) if ema else None
        state = cls(jnp.zeros((), jnp.int32), params, frozen, tx.init(params), average)
        # Tied to a device from the start, as restored arrays are: else the step is compiled twice more on a restart.
        return jax.device_put(state, jax.sharding.SingleDeviceSharding(jax.devices()[0]))

    @property
    def weights(self) -> Params:
        """The whole model as it is sampled and saved: with the averaged weights where there are any."""
        return merge(self.params if self.ema is None else self.ema, self.frozen)
