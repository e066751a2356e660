"""Web pages that show a folder of clips or of shards."""

from data_pipelines.pages.inspection import inspect_folder

__all__ = ["inspect_folder"]
