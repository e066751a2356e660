"""What a clip is like: steps from prepared clips to columns of the table, and how they look at pictures."""

from data_pipelines.filters.copies import group_copies
from data_pipelines.filters.faces import FaceMarks, detect_faces, mark_faces
from data_pipelines.filters.filtering import filter_clips
from data_pipelines.filters.models import MODELS, NEEDED, find_models
from data_pipelines.filters.pictures import read_frames_at
from data_pipelines.filters.quality import QUALITY_EVERY, find_lit_area, shrink_to_grey
from data_pipelines.filters.registry import FILTERS, make_steps
from data_pipelines.filters.shots import CUT_MARGIN, ShotDetector

__all__ = [
    "CUT_MARGIN",
    "FILTERS",
    "MODELS",
    "NEEDED",
    "QUALITY_EVERY",
    "FaceMarks",
    "ShotDetector",
    "detect_faces",
    "filter_clips",
    "find_lit_area",
    "find_models",
    "group_copies",
    "make_steps",
    "mark_faces",
    "read_frames_at",
    "shrink_to_grey",
]
