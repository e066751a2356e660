"""What `planning` plans for, from the config of a training."""

from functools import partial

from ml_collections import ConfigDict

from actavatar_jax.planning.training import Workload
from actavatar_jax.runs.resolve import check_names, in_steps, training_settings
from actavatar_jax.runs.sections import check_values
from actavatar_jax.runs.systems import system_of


def workload_of(config: ConfigDict) -> Workload:
    """The step of a training on batches of `data.batch_size` clips of the size `data.bucket`.

    A config without model folder and preset, as the paper's stages are, means the full-size model.
    """
    check_names(config)
    check_values(config)
    config = in_steps(config, examples=1)  # lengths do not matter, so neither does that of an epoch
    system = system_of(config)
    if not config.model.folder:
        config.model.preset = config.model.preset or system.FULL_SIZE
    network = system.open_network(config)
    sizes = config.data.batch_size, tuple(config.data.bucket), partial(system.entries, network.config), system.STRIDE
    pairs = config.preference.batch_size if config.preference.folder else 0
    return Workload(network, training_settings(config), *sizes, pairs)
