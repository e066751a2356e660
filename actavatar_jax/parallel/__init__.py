"""Many devices and processes: meshes, rules for parameters, batches, and what processes tell each other."""

from actavatar_jax.parallel.batches import local_rows, place_array, place_batch, replicate, share_values, to_host
from actavatar_jax.parallel.cluster import join_cluster
from actavatar_jax.parallel.hosts import agreed, all_arrive, on_all_hosts, on_each_host
from actavatar_jax.parallel.layout import (
    BATCH,
    SEQ,
    constrain,
    fitting,
    per_device,
    result_shapes,
    spread_space,
    tokens_to_heads,
)
from actavatar_jax.parallel.mesh import AXES, check_fit, local_part, make_mesh, use_mesh
from actavatar_jax.parallel.ordered import ParameterGroups
from actavatar_jax.parallel.rules import (
    AVATARSYNC_RULES,
    RULES,
    TEXT_ENCODER_RULES,
    WHOLE,
    batch_shardings,
    param_shardings,
    state_shardings,
)

__all__ = [
    "AVATARSYNC_RULES",
    "AXES",
    "BATCH",
    "RULES",
    "SEQ",
    "TEXT_ENCODER_RULES",
    "WHOLE",
    "ParameterGroups",
    "agreed",
    "all_arrive",
    "batch_shardings",
    "check_fit",
    "constrain",
    "fitting",
    "join_cluster",
    "local_part",
    "local_rows",
    "make_mesh",
    "on_all_hosts",
    "on_each_host",
    "param_shardings",
    "per_device",
    "place_array",
    "place_batch",
    "replicate",
    "result_shapes",
    "share_values",
    "spread_space",
    "state_shardings",
    "to_host",
    "tokens_to_heads",
    "use_mesh",
]
