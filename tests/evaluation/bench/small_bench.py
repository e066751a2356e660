"""A bench of six items of one second each, made here, and videos for it."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from actavatar_jax.media import write_video

SECONDS, SIZE = 1.0, (64, 96)
WINDOWS = {
    "wave": [(0.2, 0.6)],
    "nod": [(0.0, 0.4), (0.6, 1.0)],
    "point": [(0.4, 0.8)],
    "count": [(0.2, 0.5)],
    "lean": [(0.5, 0.9)],
    "rest": [],
}


def rows():
    return [
        {
            "id": name,
            "image": "face.png",
            "audio": "speech.wav",
            "duration": SECONDS,
            "fps": 25,
            "language": "en",
            "transcript": "Hello.",
            "base": "A man in a grey room.",
            "phases": [
                {"start": start, "end": end, "action": f"He does number {number}.", "body_part": "hands"}
                for number, (start, end) in enumerate(windows, start=1)
            ],
            "category": "one-hand gesture",
            "seed": 0,
        }
        for name, windows in WINDOWS.items()
    ]


def make_bench(folder: Path, lines=None) -> Path:
    """The file, with its picture beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*SIZE, 3), 90, np.uint8)).save(folder / "face.png")
    path = folder / "bench.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in (rows() if lines is None else lines)))
    return path


def make_video(path: Path, moving, frames=25, fps=25, sound=True, size=SIZE) -> Path:
    """A bright square moves in those windows (seconds) four times as far as elsewhere."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures, place = [], 4.0
    for number in range(frames):
        picture = np.full((*size, 3), 40, np.uint8)
        left = round(place) % (size[1] - 20)
        picture[20:40, left : left + 20] = 220
        pictures.append(picture)
        inside = any(start <= (number + 0.5) / fps < end for start, end in moving)
        place += 4 if inside else 1
    samples = 0.1 * np.sin(np.arange(frames * 16000 // fps) / 20)
    write_video(path, pictures, samples.astype(np.float32) if sound else None, fps)
    return path


def make_results(folder: Path, windows=None) -> Path:
    """A video of each item, which moves when it should."""
    for name, own in (windows or WINDOWS).items():
        make_video(folder / f"{name}.mp4", own)
    return folder
