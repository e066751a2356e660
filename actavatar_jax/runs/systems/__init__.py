"""The systems that are trained: what of a run is each one's own, in a module of the same functions."""

from types import ModuleType

from ml_collections import ConfigDict

from actavatar_jax.runs.systems import actavatar, echomimic

SYSTEMS = {"actavatar": actavatar, "echomimic": echomimic}


def system_of(config: ConfigDict) -> ModuleType:
    """The one of `SYSTEMS` that a config is of."""
    return SYSTEMS[config.system]
