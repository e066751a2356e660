"""The table of clips that all steps share, the machinery of a step over it, and what steps have in common."""

from data_pipelines.table.clip_files import clip_path, clip_state
from data_pipelines.table.clip_texts import actions_path, answers_path, caption_is_lost, caption_path
from data_pipelines.table.extras import import_extra
from data_pipelines.table.files import digest
from data_pipelines.table.manifests import changed_manifest, read_manifest
from data_pipelines.table.pool import map_unordered
from data_pipelines.table.report import Skip, StepReport
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
    "actions_path",
    "answers_path",
    "caption_is_lost",
    "caption_path",
    "changed_manifest",
    "clip_path",
    "clip_state",
    "digest",
    "import_extra",
    "map_unordered",
    "read_manifest",
    "run_step",
]
