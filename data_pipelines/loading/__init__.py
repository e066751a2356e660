"""Batches out of shards, and synthetic ones."""
