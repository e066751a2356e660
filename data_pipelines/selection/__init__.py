"""Which clips are trained on: rules over the columns of the table."""

from data_pipelines.selection.selection import select_clips

__all__ = ["select_clips"]
