"""From a corpus as it is distributed, on disk, to a table of clips: one reader for each corpus."""

from data_pipelines.corpora.hdtf import TEST_SECONDS, list_test_clips
from data_pipelines.corpora.reading import build_corpus_table, name_source, read_corpus

__all__ = ["TEST_SECONDS", "build_corpus_table", "list_test_clips", "name_source", "read_corpus"]
