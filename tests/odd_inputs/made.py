"""A whole dataset of encoded clips, of random numbers."""

from pathlib import Path

import numpy as np

from data_pipelines.loading import SyntheticSource
from data_pipelines.shards import BFLOAT16, LATENT_LAYOUT, SCHEMA_VERSION, Bucket, serialize_record, write_dataset


def make_dataset(folder: Path, count: int = 4) -> Path:
    source = SyntheticSource(Bucket(64, 64, 9), channels=4, text_dim=8, audio_layers=2, audio_dim=4)
    text = {
        "text_tokens": np.arange(3, dtype=np.int32),
        "phase_ids": np.zeros(3, np.int8),
        "text_embeds": np.ones((3, 8), BFLOAT16),
    }
    metadata = {
        "schema": SCHEMA_VERSION,
        "layout": LATENT_LAYOUT,
        "fps": 25,
        "encoders": {},
        "latent_shape": list(source[0]["latents"].shape),
        "empty_prompt": source.empty_prompt().to_dict(),
    }
    folder.mkdir(parents=True)
    write_dataset(folder, (serialize_record(source[i] | text) for i in range(count)), count, 2, metadata)
    return folder
