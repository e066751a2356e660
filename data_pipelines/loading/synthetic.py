"""Random records of the shards' form, for benchmarks and tests that need no clips."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import grain
import numpy as np

from data_pipelines.loading.stream import Stream
from data_pipelines.loading.transforms import FitShapes
from data_pipelines.shards import BFLOAT16, Bucket, EmptyPrompt, Record


@dataclass(frozen=True)
class SyntheticSource:
    """`records` records of one bucket; record i is always the same."""

    bucket: Bucket
    records: int = 64
    channels: int = 48
    text_dim: int = 4096
    audio_layers: int = 12
    audio_dim: int = 768
    stride: int = 16  # pixels of a side for one latent place

    def __len__(self) -> int:
        return self.records

    def __getitem__(self, index: int) -> Record:
        rng = np.random.default_rng(index)
        frames, latent_frames = self.bucket.frames, (self.bucket.frames - 1) // 4 + 1
        tokens, phases = int(rng.integers(8, 32)), int(rng.integers(0, 4))
        times = np.sort(rng.uniform(0, frames / 25, (phases, 2)), axis=1)
        latents = (latent_frames, self.bucket.height // self.stride, self.bucket.width // self.stride, self.channels)
        return {
            "clip": f"synthetic-{index}",
            "start": 0,
            "latents": rng.standard_normal(latents, np.float32).astype(BFLOAT16),
            "text_tokens": rng.integers(2, 100, tokens, np.int32),
            "phase_ids": np.sort(rng.integers(0, phases + 1, tokens, np.int8)),
            "text_embeds": rng.standard_normal((tokens, self.text_dim), np.float32).astype(BFLOAT16),
            "phase_windows": times.astype(np.float32),
            "audio_feats": rng.standard_normal((frames, self.audio_layers, self.audio_dim), np.float32).astype(
                np.float16
            ),
        }

    def empty_prompt(self) -> EmptyPrompt:
        return EmptyPrompt(np.array([1], np.int32), np.ones((1, self.text_dim), BFLOAT16))


@dataclass(frozen=True)
class SyntheticTasks(SyntheticSource):
    """The same for EchoMimicV3, with the first frame known, and two features of speech of a frame where `audio_rate`
    is 2."""

    audio_rate: int = 1
    picture_tokens: int = 257
    picture_dim: int = 1280

    def __getitem__(self, index: int) -> Record:
        record, rng = super().__getitem__(index), np.random.default_rng((index, 1))
        latents, speech = record["latents"], record["audio_feats"]
        mask = np.zeros((*latents.shape[:3], 4), BFLOAT16)
        mask[0] = 1
        known = np.concatenate([mask, latents * mask[..., :1]], axis=-1)
        picture = rng.standard_normal((self.picture_tokens, self.picture_dim), np.float32).astype(BFLOAT16)
        told = {"picture": picture, "tasks": np.zeros(1, np.int8), "known": known[None]}
        return record | told | {"audio_feats": np.repeat(speech, self.audio_rate, axis=0)}


def make_synthetic_loader(
    source: SyntheticSource,
    *,
    batch_size: int,
    seed: int,
    text_len: int = 512,
    max_phases: int = 8,
    rows: Sequence[int] | None = None,
    tasks: Mapping[str, float] | None = None,
) -> grain.IterDataset:
    """Endless batches with the keys, shapes and types of `make_loader`."""
    stream = Stream(batch_size, seed, (0.1, 0.1, 0.05), rows=rows, tasks=tasks)
    return stream.make_batches([source], [FitShapes(source.empty_prompt(), text_len, max_phases)])
