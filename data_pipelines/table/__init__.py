"""The table of clips that all steps share, and the machinery of a step."""

from data_pipelines.table.table import CORE, ID, Clip, Table, read_manifest

__all__ = ["CORE", "ID", "Clip", "Table", "read_manifest"]
