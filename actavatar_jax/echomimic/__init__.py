"""EchoMimicV3: its transformer in both published variants, its public files, its tasks, and the pipeline."""

import actavatar_jax.echomimic.flops  # noqa: F401 - its count is found by the class of a config
from actavatar_jax.echomimic.config import Conditions, EchoMimicConfig, Sources
from actavatar_jax.echomimic.encoders import TRAINED, EchoMimicEncoders
from actavatar_jax.echomimic.files import (
    FILES,
    hears,
    open_file,
    open_transformer,
    read_config,
    write_file,
    write_transformer,
)
from actavatar_jax.echomimic.model import EchoMimicDiT
from actavatar_jax.echomimic.objective import EchoMimicObjective, PhaseDropout
from actavatar_jax.echomimic.options import DEFAULTS, EchoMimicSampling
from actavatar_jax.echomimic.pipeline import EchoMimicPipeline
from actavatar_jax.echomimic.presets import PRESETS
from actavatar_jax.echomimic.request import TASKS

__all__ = [
    "DEFAULTS",
    "FILES",
    "PRESETS",
    "TASKS",
    "TRAINED",
    "Conditions",
    "EchoMimicConfig",
    "EchoMimicDiT",
    "EchoMimicEncoders",
    "EchoMimicObjective",
    "EchoMimicPipeline",
    "EchoMimicSampling",
    "PhaseDropout",
    "Sources",
    "hears",
    "open_file",
    "open_transformer",
    "read_config",
    "write_file",
    "write_transformer",
]
