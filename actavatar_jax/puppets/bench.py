"""A bench of puppets: drawn people, spoken sentences and actions that no training saw, and the drawn films beside."""

from collections.abc import Iterable
from pathlib import Path

import scipy.io.wavfile
from PIL import Image

from actavatar_jax.evaluation.bench import BenchItem, BenchPhase, write_bench
from actavatar_jax.media import FPS, SAMPLE_RATE, write_video
from actavatar_jax.puppets.world.clips import World, make_clip
from actavatar_jax.speech import VOICES


def write_puppet_bench(folder: str | Path, seeds: Iterable[int], world: World) -> list[BenchItem]:
    """`bench.jsonl`, with pictures and recordings beside it, and in `real` what was drawn: `<id>.mp4`."""
    folder, items = Path(folder), []
    for name in ("pictures", "speech", "real"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        clip, name = make_clip(seed, world), f"puppet_{seed:06d}"
        image, audio = folder / "pictures" / f"{name}.png", folder / "speech" / f"{name}.wav"
        Image.fromarray(clip.frames[0]).save(image)
        scipy.io.wavfile.write(audio, SAMPLE_RATE, clip.audio)
        write_video(folder / "real" / f"{name}.mp4", clip.frames, clip.audio)
        phases = tuple(BenchPhase(float(p.start), float(p.end), p.action) for p in clip.prompt.phases)
        items.append(
            BenchItem(
                name,
                image,
                audio,
                clip.prompt.base,
                phases,
                duration=world.frames / FPS,
                language=VOICES[clip.voice].language,
                transcript=clip.sentence,
                category="puppets",
                seed=seed,
            )
        )
    write_bench(items, folder / "bench.jsonl")
    return items
