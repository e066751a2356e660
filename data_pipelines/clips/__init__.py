"""From videos as they come to clips on one clock."""

from data_pipelines.clips.pixels import cut_pixel_windows
from data_pipelines.clips.prepare import prepare_clips

__all__ = ["cut_pixel_windows", "prepare_clips"]
