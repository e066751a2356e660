"""What other programs need to measure the same videos: frames, the videos by themselves, their prompts.

clips.json            [{"id": "wave_01", "video": "videos/wave_01.mp4", "frames": ["frames/wave_01/000.png", ...],
                        "prompt": "A woman in an office speaks to the camera. She raises the right hand."}]
prompts.json          {"wave_01.mp4": the prompt}
frames/<id>/000.png   a frame of each second: what Q-Align is shown of a video
videos/<id>.mp4       those of the bench that can be measured, and no others
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.bench.clips import BenchClip, Results, find_clips
from actavatar_jax.evaluation.bench.items import BenchItem, read_bench
from actavatar_jax.evaluation.bench.kept import Kept
from actavatar_jax.evaluation.bench.report import reasons_line
from actavatar_jax.media import FPS, read_frames
from actavatar_jax.storage import named, replaced_folder, write_json

CLIPS, PROMPTS = "clips.json", "prompts.json"


@dataclass(frozen=True)
class Export:
    """Where everything lies, and what of the bench is not there."""

    folder: Path
    found: Results

    def line(self) -> str:
        clips = len(self.found.clips)
        told = f"{clips} clip{'s' * (clips != 1)} in {self.folder}"
        return f"{told}; left out: {reasons_line(self.found.reasons)}" if self.found.reasons else told


def export_clips(results: str | Path, bench: str | Path, out: str | Path, *, progress: bool = True) -> Export:
    """Writes the videos of a bench for other programs into a folder that is not there yet, or is empty.

    Raises:
      InputError: the bench or the folder of videos cannot be read, none of the videos can be measured, or `out` holds
        something.
    """
    items, out = read_bench(bench), Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{named(out)} holds something already; give a folder that is new.")
    with replaced_folder(out) as folder:
        with tqdm(total=len(items), desc="look", unit="clip", disable=not progress) as bar:
            found = find_clips(results, items, Kept(folder / "kept"), bar.update)
        shutil.rmtree(folder / "kept", ignore_errors=True)
        if not found.clips:
            raise InputError("None of the videos that the bench asks for can be measured, so that there is no export.")
        clips = tqdm(found.clips, desc="export", unit="clip", disable=not progress)
        write_json(folder / CLIPS, [_write(clip, folder) for clip in clips])
        write_json(folder / PROMPTS, {_video(clip): told_prompt(clip.item) for clip in found.clips})
    return Export(out, found)


def told_prompt(item: BenchItem) -> str:
    """What a clip is to show, in sentences without times, as programs take it that know of none."""
    return " ".join([item.base, *(phase.action for phase in item.phases)])


def _write(clip: BenchClip, folder: Path) -> dict[str, object]:
    video = Path("videos") / _video(clip)
    (folder / video).parent.mkdir(exist_ok=True)
    shutil.copyfile(clip.path, folder / video)
    frames = Path("frames") / clip.item.id
    (folder / frames).mkdir(parents=True)
    names = []
    for number, frame in enumerate(read_frames(clip.path)):
        if number % FPS == 0:
            names.append(str(frames / f"{len(names):03}.png"))
            Image.fromarray(frame).save(folder / names[-1])
    return {"id": clip.item.id, "video": str(video), "frames": names, "prompt": told_prompt(clip.item)}


def _video(clip: BenchClip) -> str:
    return f"{clip.item.id}.mp4"
