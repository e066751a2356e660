"""From a corpus as it is distributed, on disk, to a table of clips: one reader for each corpus."""

from data_pipelines.corpora.reading import build_corpus_table, name_source, read_corpus

__all__ = ["build_corpus_table", "name_source", "read_corpus"]
