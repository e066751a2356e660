"""The table of clips that all steps share, the machinery of a step over it, and what steps have in common."""

from actavatar_jax.errors import Skip
from data_pipelines.table.clip_files import clip_path, clip_state
from data_pipelines.table.extras import import_extra
from data_pipelines.table.files import digest
from data_pipelines.table.manifests import changed_manifest, read_manifest
from data_pipelines.table.pool import map_unordered
from data_pipelines.table.report import StepReport
from data_pipelines.table.steps import Step, run_step
from data_pipelines.table.table import CORE_SCHEMA, ID_PATTERN, Clip, Table

__all__ = [
    "CORE_SCHEMA",
    "ID_PATTERN",
    "Clip",
    "Skip",
    "Step",
    "StepReport",
    "Table",
    "changed_manifest",
    "clip_path",
    "clip_state",
    "digest",
    "import_extra",
    "map_unordered",
    "read_manifest",
    "run_step",
]
