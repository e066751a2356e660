"""Small stand-ins: frozen encoders without weights, and clips drawn by arithmetic."""

import zlib
from pathlib import Path

import av
import numpy as np

from actavatar_jax.media.video import write_video
from actavatar_jax.prompt import StructuredPrompt
from data_pipelines.clips import prepare_clips

TEXT_LEN, TEXT_DIM = 64, 6


class WordTokenizer:
    """One token per word."""

    eos_token_id = 1

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        return [2 + zlib.crc32(word.encode()) % 1000 for word in text.split()]


class FakeEncoders:
    """The interface of the real encoders: block means for latents, token numbers for text, sample means for audio."""

    system = "actavatar"

    def __init__(self, name: str = "fake"):
        self.name, self.tokenizer, self.calls = name, WordTokenizer(), 0

    def fingerprint(self) -> dict[str, str]:
        return {"video": self.name, "text": "words"}

    def text(self, prompts: list[StructuredPrompt], *, anchors: bool = True) -> tuple[np.ndarray, np.ndarray]:
        embeds = np.zeros((len(prompts), TEXT_LEN, TEXT_DIM), np.float32)
        phase_ids = np.full((len(prompts), TEXT_LEN), -1, np.int32)
        for row, prompt in enumerate(prompts):
            tokens = prompt.tokenise(self.tokenizer, TEXT_LEN, anchors=anchors)
            embeds[row, : len(tokens.ids)] = np.sin(tokens.ids[:, None] * np.arange(1, TEXT_DIM + 1))
            phase_ids[row, : len(tokens.ids)] = tokens.phase_ids
        return embeds, phase_ids

    def audio(self, samples: np.ndarray, num_frames: int) -> np.ndarray:
        """[F, 2, 3] that hold the mean loudness of each frame's own samples."""
        loudness = np.abs(samples.reshape(num_frames, -1)).mean(1)
        return np.tile(loudness[:, None, None], (1, 2, 3)).astype(np.float32)

    def fields(self, frames: np.ndarray, seed: int, mouths=None) -> dict[str, np.ndarray]:
        return {}

    def video(self, frames: np.ndarray) -> np.ndarray:
        """[T, H, W, 3]: means over 16 x 16 pixels, and over frame 0 alone, then groups of four."""
        self.calls += 1
        count, height, width, _ = frames.shape
        blocks = frames.reshape(count, height // 16, 16, width // 16, 16, 3).mean((2, 4), dtype=np.float32) / 127.5 - 1
        return np.concatenate([blocks[:1], blocks[1:].reshape(-1, 4, *blocks.shape[1:]).mean(1)])


def write_clip(
    path: Path, frames: int = 20, height: int = 64, width: int = 96, seed: int = 0, sound: bool = True, fps: int = 25
):
    """A video whose brightness and loudness grow with time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = np.linspace(20, 235, frames)[:, None, None, None] * np.array([1.0, 0.8, 0.6])
    pictures = np.broadcast_to(grey, (frames, height, width, 3)).astype(np.uint8)
    samples = frames * 16000 // fps
    noise = np.random.default_rng(seed).uniform(-0.8, 0.8, samples)
    audio = (noise * np.linspace(0, 1, samples)).astype(np.float32)
    write_video(path, pictures, audio if sound else None, fps)


def write_interlaced(path: Path, frames: int = 12, turn: int = 0, height: int = 128):
    """A video of 25 frames a second in which a bar moves on by 6 pixels each field: odd lines first, then even ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"x264-params": "bff=1:weightp=0", "crf": "12"})
        stream.height, stream.width, stream.pix_fmt = height, 192, "yuv420p"
        stream.set_display_rotation(degrees=turn)
        sound = container.add_stream("aac", rate=16000, layout="mono")
        for number in range(frames):
            image = np.full((height, 192, 3), 40, np.uint8)
            for field in (0, 1):
                left = 8 + 6 * (2 * number + field)
                image[1 - field :: 2, left : left + 24] = 220
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
            speech = av.AudioFrame.from_ndarray(np.full((1, 640), 0.1, np.float32), format="fltp", layout="mono")
            speech.sample_rate, speech.pts = 16000, 640 * number
            container.mux(sound.encode(speech))
        container.mux(stream.encode(None))
        container.mux(sound.encode(None))
    return path


def combs(frames: np.ndarray) -> float:
    """How much lines of [F, H, W, 3] differ from those above and below them, as where two fields are woven."""
    lines = frames.astype(float)
    return np.abs(2 * lines[:, 1:-1] - lines[:, :-2] - lines[:, 2:]).mean()


def make_clips(root: Path, clips: dict[str, tuple[int, int, int]]) -> Path:
    """A clip folder of videos {name: (frames, height, width)}; the video folder is `root / "videos"`."""
    for seed, (name, (frames, height, width)) in enumerate(clips.items()):
        write_clip(root / "videos" / f"{name}.mp4", frames, height, width, seed)
    prepare_clips(root / "videos", root / "clips", min_frames=5, min_side=32, progress=False)
    return root / "clips"
