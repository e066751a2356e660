"""The table of clips that all steps share, the machinery of a step over it, and what steps have in common."""

from actavatar_jax.errors import Skip
from data_pipelines.table.clip_files import clip_on_disk, clip_path, clip_state, shelved
from data_pipelines.table.clip_texts import actions_path, answers_path, caption_is_lost, caption_path
from data_pipelines.table.columns import known_columns, write_columns, write_step_columns
from data_pipelines.table.extras import import_extra
from data_pipelines.table.files import digest, digest_once
from data_pipelines.table.journals import Journal, count_begun, list_journals
from data_pipelines.table.manifests import changed_step, read_manifest, shared_manifest
from data_pipelines.table.measuring import Step
from data_pipelines.table.parts import Part, Process, check_process
from data_pipelines.table.pool import map_unordered
from data_pipelines.table.report import CRASHED, STORE_FAILED, UNEXPECTED, Outcome, StepReport
from data_pipelines.table.steps import GIVEN_UP, PUT_UP, TIMEOUT, join_found, run_step, stop_at_many
from data_pipelines.table.table import CORE_SCHEMA, ID_PATTERN, Clip, Table

__all__ = [
    "CORE_SCHEMA",
    "CRASHED",
    "GIVEN_UP",
    "ID_PATTERN",
    "PUT_UP",
    "STORE_FAILED",
    "TIMEOUT",
    "UNEXPECTED",
    "Clip",
    "Journal",
    "Outcome",
    "Part",
    "Process",
    "Skip",
    "Step",
    "StepReport",
    "Table",
    "actions_path",
    "answers_path",
    "caption_is_lost",
    "caption_path",
    "changed_step",
    "check_process",
    "clip_on_disk",
    "clip_path",
    "clip_state",
    "count_begun",
    "digest",
    "digest_once",
    "import_extra",
    "join_found",
    "known_columns",
    "list_journals",
    "map_unordered",
    "read_manifest",
    "run_step",
    "shared_manifest",
    "shelved",
    "stop_at_many",
    "write_columns",
    "write_step_columns",
]
