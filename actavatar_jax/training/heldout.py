"""The loss on clips that are never trained on: the same clips, noise and noise levels whenever it is measured."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Key

from actavatar_jax.diffusion import flow
from actavatar_jax.functional import Network, Params, random_key
from actavatar_jax.parallel import place_batch, replicate
from actavatar_jax.training.groups import merge
from actavatar_jax.training.objective import Batch, Draws, Objective
from actavatar_jax.training.state import TrainState
from actavatar_jax.training.step import noisy_losses

LEVELS = 4  # equal parts of flow time (0, 1], in each of which every clip is scored once


class HeldOutLoss:
    """Of a training state: the loss of its weights and, beside it, of their running average where there is one."""

    def __init__(
        self,
        network: Network,
        objective: Objective,
        batches: Iterable[Mapping[str, Any]],
        mesh: Mesh,
        shardings: TrainState,
        beat: Callable[[], object],
    ):
        """
        Args:
          batches: as of `make_heldout_losses`, of this process the samples `parallel.batches.local_rows`; the same ones
            whenever they are gone through.
          shardings: of the state.
          beat: called after every batch.
        """
        self.batches, self.mesh, self.beat = batches, mesh, beat
        self.score = make_heldout_losses(network, objective, shardings)
        self.key = replicate(random_key(0), mesh)  # not the run's own, so that runs can be compared

    def __call__(self, state: TrainState) -> dict[str, float]:
        """A record: `heldout/loss`, `heldout/loss_at_noise/<from>-<to>`, and `heldout/ema_loss...` of the average."""
        weights = {"loss": state.params} | ({} if state.ema is None else {"ema_loss": state.ema})
        totals = {name: np.zeros(LEVELS + 1) for name in weights}
        for batch in self.batches:
            placed = place_batch(batch, self.mesh)
            for name, params in weights.items():
                totals[name] += jax.device_get(self.score(params, state.frozen, placed, self.key))
            self.beat()
        record = {}
        for name, (*sums, clips) in totals.items():
            record[f"heldout/{name}"] = float(np.mean(sums) / clips)
            for level, total in enumerate(sums):
                place = f"{level / LEVELS:.2f}-{(level + 1) / LEVELS:.2f}"
                record[f"heldout/{name}_at_noise/{place}"] = float(total / clips)
        return record


def make_heldout_losses(
    network: Network, objective: Objective, shardings: TrainState
) -> Callable[[Params, Params, Batch, Key[Array, ""]], Float[Array, "LEVELS+1"]]:
    """The jitted `losses(params, frozen, batch, key)`: sums over clips for each of `LEVELS`, and the number of clips.

    A clip's noise and times come from the key and its `index` alone; within its part of flow time, each time is drawn
    evenly.

    Args:
      shardings: of the state that both halves of the parameters come from; called under `jax.set_mesh`.

    Args of the function:
      batch: as of `step.make_train_step`, and `weight` [B]: 1, or 0 for what only fills a batch.
    """

    def losses(params, frozen, batch, key):
        model, latents = network.bind(merge(params, frozen)), batch["latents"].astype(jnp.float32)
        conditions = objective.condition(model, batch, None)
        keys = flow.sample_keys(key, batch["index"])

        def at(level):
            draws = jax.vmap(lambda own: jax.random.split(jax.random.fold_in(own, level)))(keys)
            times = (level + 1 - jax.vmap(jax.random.uniform)(draws[:, 0])) / LEVELS
            drawn = Draws(times, draws[:, 1], objective.clean)
            return noisy_losses(model, latents, conditions, drawn) @ batch["weight"]

        return jnp.append(jax.lax.map(at, jnp.arange(LEVELS)), batch["weight"].sum())

    whole = NamedSharding(jax.tree.leaves(shardings)[0].mesh, PartitionSpec())
    return jax.jit(losses, in_shardings=(shardings.params, shardings.frozen, None, whole), out_shardings=whole)
