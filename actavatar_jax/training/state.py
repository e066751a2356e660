"""What a training run carries from step to step."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array

from actavatar_jax.functional import Params
from actavatar_jax.parallel import RULES, place_array, state_shardings
from actavatar_jax.parallel.rules import Rules
from actavatar_jax.training.groups import merge


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Master weights are float32; `opt_state` and `ema` exist for the trained half only.

    The same tree also holds the shapes of a state, or its shardings, in the place of arrays.
    """

    step: Any  # int32 scalar: steps done
    params: Params  # trained
    frozen: Params
    opt_state: Any
    ema: Any = None  # Params, the running average of `params`; None when switched off
    reference: Any = None  # Params, `params` as they were before the first step; None where no preference asks for them

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


def abstract_state(
    params: Params,
    frozen: Params,
    tx: optax.GradientTransformation,
    ema: bool,
    mesh: Mesh,
    reference: bool = False,
    rules: Rules = RULES,
) -> TrainState:
    """The shapes of `create_state`, each with its sharding; of `params` and `frozen` only shapes are read."""
    state = jax.eval_shape(functools.partial(_fresh, tx=tx, ema=ema, reference=reference), params, frozen)
    return jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
        state,
        state_shardings(state, mesh, rules),
    )


def create_state(
    params: Params,
    frozen: Params,
    tx: optax.GradientTransformation,
    ema: bool,
    mesh: Mesh,
    reference: bool = False,
    rules: Rules = RULES,
) -> TrainState:
    """`TrainState.create` over a mesh: every leaf is made where `state_shardings` puts it, whole on no device.

    Args:
      params, frozen: the same in every process, of host arrays or of arrays cut like that already; taken over.
    """
    fresh = functools.partial(_fresh, tx=tx, ema=ema, reference=reference)
    shardings = state_shardings(jax.eval_shape(fresh, params, frozen), mesh, rules)
    params, frozen = jax.tree.map(place_array, (params, frozen), (shardings.params, shardings.frozen))

    copies = shardings.ema, shardings.reference

    @functools.partial(jax.jit, out_shardings=(shardings.step, shardings.opt_state, *copies))
    def rest(params: Params) -> tuple[Array, Any, Params | None, Params | None]:
        state = fresh(params, {})
        return state.step, state.opt_state, state.ema, state.reference

    step, opt_state, average, before = rest(params)
    return TrainState(step, params, frozen, opt_state, average, before)


def _fresh(
    params: Params, frozen: Params, tx: optax.GradientTransformation, ema: bool, reference: bool = False
) -> TrainState:
    average, before = (jax.tree.map(jnp.copy, params) if wanted else None for wanted in (ema, reference))
    return TrainState(jnp.zeros((), jnp.int32), params, frozen, tx.init(params), average, before)
