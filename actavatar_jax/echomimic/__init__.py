"""EchoMimicV3: its transformer in both published variants, its public files, its tasks, and the pipeline."""

from actavatar_jax.echomimic.config import Conditions, EchoMimicConfig, Sources
from actavatar_jax.echomimic.files import FILES, read_file, read_transformer, write_file
from actavatar_jax.echomimic.model import EchoMimicDiT
from actavatar_jax.echomimic.options import DEFAULTS, EchoMimicSampling
from actavatar_jax.echomimic.pipeline import EchoMimicPipeline
from actavatar_jax.echomimic.request import TASKS

__all__ = [
    "DEFAULTS",
    "FILES",
    "TASKS",
    "Conditions",
    "EchoMimicConfig",
    "EchoMimicDiT",
    "EchoMimicPipeline",
    "EchoMimicSampling",
    "Sources",
    "read_file",
    "read_transformer",
    "write_file",
]
