"""Shards of made-up clips that a training of the tiny model can read."""

from pathlib import Path

from actavatar_jax.models.avatar import DiTConfig
from data_pipelines.loading import SyntheticSource
from data_pipelines.shards import LATENT_LAYOUT, SCHEMA_VERSION, Bucket, serialize_record, write_dataset


def synthetic_source(model: DiTConfig) -> SyntheticSource:
    """Clips of nine frames for a model of this size."""
    parts = {"text_dim": model.text_dim, "audio_layers": model.audio.feature_layers}
    parts |= {"channels": model.in_channels, "audio_dim": model.audio.feature_width}
    return SyntheticSource(Bucket(32, 64, 9), **parts)


def write_shards(folder: Path, source: SyntheticSource, records: range) -> None:
    """A folder of shards with these records of a synthetic source."""
    made_by = {"schema": SCHEMA_VERSION, "layout": LATENT_LAYOUT, "fps": 25, "encoders": {"vae": "ours"}}
    made_by |= {"empty_prompt": source.empty_prompt().to_dict(), "latent_shape": source[0]["latents"].shape}
    folder.mkdir()
    write_dataset(folder, (serialize_record(source[i]) for i in records), len(records), 4, made_by)
