"""Clips encoded once by the frozen encoders: records, and the datasets on disk that hold them."""

from data_pipelines.shards.buckets import DEFAULT_SIZES, Bucket, choose_bucket, measure_enlargement, parse_buckets
from data_pipelines.shards.dataset import (
    EncodedDataset,
    list_shards,
    open_dataset,
    write_dataset,
)
from data_pipelines.shards.encode import commit_shards, encode_clips
from data_pipelines.shards.finding import find_datasets, identify_datasets
from data_pipelines.shards.records import FrozenEncoders, RecordMaker, describe_records
from data_pipelines.shards.schema import (
    ACTAVATAR,
    BFLOAT16,
    ECHOMIMIC,
    LATENT_LAYOUT,
    SCHEMA_VERSION,
    EmptyPrompt,
    Record,
    deserialize_record,
    serialize_record,
)
from data_pipelines.shards.summaries import DatasetSummary, summarise_datasets
from data_pipelines.shards.written import read_index

__all__ = [
    "ACTAVATAR",
    "BFLOAT16",
    "DEFAULT_SIZES",
    "ECHOMIMIC",
    "LATENT_LAYOUT",
    "SCHEMA_VERSION",
    "Bucket",
    "DatasetSummary",
    "EmptyPrompt",
    "EncodedDataset",
    "FrozenEncoders",
    "Record",
    "RecordMaker",
    "choose_bucket",
    "commit_shards",
    "describe_records",
    "deserialize_record",
    "encode_clips",
    "find_datasets",
    "identify_datasets",
    "list_shards",
    "measure_enlargement",
    "open_dataset",
    "parse_buckets",
    "read_index",
    "serialize_record",
    "summarise_datasets",
    "write_dataset",
]
