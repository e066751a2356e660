"""The training step of a workload as a program for devices that are not here: shapes only, nothing is allocated."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from actavatar_jax import functional
from actavatar_jax.models import self_attention_form
from actavatar_jax.parallel import batch_shardings, state_shardings
from actavatar_jax.planning.training.workload import Workload
from actavatar_jax.training.groups import multipliers, partition
from actavatar_jax.training.lora import abstract_params
from actavatar_jax.training.optimizer import make_optimizer, make_schedule
from actavatar_jax.training.state import TrainState
from actavatar_jax.training.step import make_train_step


def lower(workload: Workload, mesh: Mesh) -> jax.stages.Lowered:
    """The step of `training.step` on this mesh, not yet compiled."""
    network, settings = workload.network, workload.training
    params = abstract_params(network, settings.lora)
    tx = make_optimizer(settings.optim, settings.steps, multipliers(params, settings.rules), settings.explode)
    trained, frozen = partition(params, settings.rules)
    copies = settings.optim.ema_decay > 0, settings.preference is not None
    state = jax.eval_shape(lambda *halves: _state(tx, *copies, *halves), trained, frozen)
    shardings = state_shardings(state, mesh)
    step = make_train_step(
        network, tx, settings.objective, make_schedule(settings.optim, settings.steps),
        settings.optim.ema_decay, micro_batches=settings.micro_batches, preference=settings.preference,
        shardings=shardings,
    )  # fmt: skip
    batch = workload.batch()
    key = jax.eval_shape(lambda: jax.random.key(0, impl="threefry2x32"))
    arguments = (state, batch, key)
    places = (shardings, batch_shardings(mesh, batch), NamedSharding(mesh, PartitionSpec()))
    with jax.set_mesh(mesh):
        return step.lower(*jax.tree.map(_placed, arguments, places))


def attention_form(workload: Workload, mesh: Mesh) -> str:
    """The form in which self-attention is computed on each device."""
    c, execution = workload.network.config, workload.network.execution
    tokens, samples = c.tokens(workload.grid), workload.batch_size // workload.training.micro_batches
    return self_attention_form(execution, c.heads, c.head_dim, samples=samples, tokens=tokens, mesh=mesh.shape)


def _state(tx: Any, ema: bool, reference: bool, params: functional.Params, frozen: functional.Params) -> TrainState:
    average, before = (params if wanted else None for wanted in (ema, reference))
    return TrainState(jnp.zeros((), jnp.int32), params, frozen, tx.init(params), average, before)


def _placed(leaf: jax.ShapeDtypeStruct, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
