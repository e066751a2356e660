"""Batches out of shards, out of other records, and synthetic ones."""

from data_pipelines.loading.fixed import FixedBatches
from data_pipelines.loading.loader import make_loader
from data_pipelines.loading.pairs import HALVES, make_pair_loader
from data_pipelines.loading.stream import Stream
from data_pipelines.loading.synthetic import SyntheticSource, SyntheticTasks, make_synthetic_loader
from data_pipelines.loading.transforms import Batch, FitShapes

__all__ = [
    "HALVES",
    "Batch",
    "FitShapes",
    "FixedBatches",
    "Stream",
    "SyntheticSource",
    "SyntheticTasks",
    "make_loader",
    "make_pair_loader",
    "make_synthetic_loader",
]
