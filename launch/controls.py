"""Whether measures notice what is wrong with videos: `python launch/controls.py WORKDIR --videos videos/`.

Clips of a folder of anyone's videos, and films of puppets, are spoilt in every way of `actavatar evaluate controls`.
The clips are measured by the networks of a folder (`--weights`), the films by what needs none and by the puppets' judge
in the place of SyncNet and of a multimodal model. What is printed is one Markdown table; a second run measures what is
new.
"""

import itertools
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.bench import (
    BENCH_FILE,
    CONTROLS,
    BenchItem,
    BenchPhase,
    check_controls,
    parse_names,
    write_bench,
)
from actavatar_jax.evaluation.bench.controls import ControlsReport

LONG_SIDE = 512  # pixels of a clip: what pairs cost grows with them
PUPPET_METRICS = ("energy", "sync", "psnr", "ssim", "judge")

app = typer.Typer(add_completion=False)


@app.command()
def main(
    workdir: Annotated[Path, typer.Argument(help="Folder of clips, spoilt videos and reports.")],
    videos: Annotated[Path, typer.Option(help="Folder of videos of people who talk.")],
    weights: Annotated[Path | None, typer.Option(help="Of the published networks, or of random ones.")] = None,
    clips: Annotated[int, typer.Option(min=2, help="That are cut out of the videos.")] = 12,
    seconds: Annotated[float, typer.Option(min=0.2, help="Of each clip; lip synchrony takes more than 2.")] = 2.12,
    metrics: Annotated[str | None, typer.Option(help="Of the clips, as of evaluate videos.")] = None,
    puppets: Annotated[int, typer.Option(min=2, help="Films that are drawn.")] = 24,
) -> None:
    """Prints what every control found of the clips, and of the puppets."""
    from actavatar_jax.puppets import demo
    from actavatar_jax.puppets.bench import write_puppet_bench
    from actavatar_jax.puppets.judge import load_judge
    from actavatar_jax.puppets.judge.metrics import puppet_metrics

    filmed, drawn = workdir / "clips", workdir / "puppets"
    try:
        cut_clips(videos, filmed, clips, seconds)
        write_puppet_bench(drawn, demo.UNSEEN[:puppets], demo.world_of(demo.SHIPPED))
        judged = {"metrics": PUPPET_METRICS, "stand_ins": puppet_metrics(load_judge())}
        reports = {
            f"{puppets} films of puppets": check(drawn, **judged),
            f"{clips} clips": check(filmed, metrics=parse_names(metrics), weights=weights),
        }
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(table(reports))


def check(folder: Path, **options) -> ControlsReport:
    return check_controls(folder / "real", folder / BENCH_FILE, folder / "controls", **options)


def cut_clips(videos: Path, folder: Path, count: int, seconds: float) -> None:
    """Writes a bench of clips, and the clips themselves in `folder/real`: the first stretch of every video, then the
    second one of those that are as long, and so on.

    Nobody knows what is seen, so that each prompt has one window in its middle in which nothing special is asked for.
    InputError where there are fewer.
    """
    from actavatar_jax.media import probe
    from actavatar_jax.media.formats import VIDEO_SUFFIXES

    files = sorted(file for file in videos.glob("*") if file.suffix.lower() in VIDEO_SUFFIXES)
    lengths = {file: int(probe(file).duration / seconds) for file in files}
    rounds = range(max(lengths.values(), default=0))
    stretches = [(file, number) for number in rounds for file in files if number < lengths[file]]
    if len(stretches) < count:
        raise InputError(f"{videos} has {len(stretches)} stretches of {seconds:g} s; {count} clips are asked for.")
    write_bench([cut(*stretch, folder, seconds) for stretch in stretches[:count]], folder / BENCH_FILE)


def cut(video: Path, number: int, folder: Path, seconds: float) -> BenchItem:
    """One stretch of a video as a clip with picture and speech."""
    import numpy as np
    import scipy.io.wavfile
    from PIL import Image

    from actavatar_jax.media import FPS, SAMPLE_RATE, probe, read_frames, write_video
    from actavatar_jax.media.audio import decode_audio

    info, name, length = probe(video), f"{video.stem}_{number}", round(seconds * FPS)
    film, picture, speech = folder / "real" / f"{name}.mp4", folder / f"{name}.png", folder / f"{name}.wav"
    item = BenchItem(
        name,
        picture,
        speech,
        "A person is talking to the camera.",
        (BenchPhase(round(seconds / 3, 2), round(2 * seconds / 3, 2), "The person goes on talking."),),
        duration=length / FPS,
    )
    film.parent.mkdir(parents=True, exist_ok=True)
    scale = min(1.0, LONG_SIDE / max(info.width, info.height))
    size = tuple(max(2, round(side * scale) // 2 * 2) for side in (info.height, info.width))  # mp4 takes even ones
    frames = list(itertools.islice(read_frames(video, size=size), number * length, (number + 1) * length))
    sound = decode_audio(video, origin=info.start)
    rate = SAMPLE_RATE // FPS
    sound = None if sound is None else sound[number * length * rate : (number + 1) * length * rate]
    Image.fromarray(frames[0]).save(picture)
    scipy.io.wavfile.write(speech, SAMPLE_RATE, np.zeros(length * rate, np.float32) if sound is None else sound)
    write_video(film, frames, sound)
    return item


def table(reports: Mapping[str, ControlsReport]) -> str:
    """A line for every expectation that a report has, side by side what each found and whether it is as it should."""
    found = {
        name: {(outcome.control, outcome.column): outcome for outcome in report.outcomes}
        for name, report in reports.items()
    }
    every = {key: outcome for outcomes in found.values() for key, outcome in outcomes.items()}
    order = ((control.name, expectation.column) for control in CONTROLS for expectation in control.expectations)
    every = {key: every[key] for key in order if key in every}
    return "\n".join(_lines(found, every))


def _lines(found: dict[str, dict], every: dict) -> Iterator[str]:
    heads = [part for name in found for part in (name, "as it should")]
    yield f"| control | measure | expected | {' | '.join(heads)} |"
    yield "| --- " * (3 + len(heads)) + "|"
    for key, outcome in every.items():
        cells = [outcome.control, outcome.measure, outcome.expected]
        for outcomes in found.values():
            own = outcomes.get(key)
            told = own is not None and own.held is not None
            cells += [own.found, "yes" if own.held else "NO"] if told else ["-", "-"]
        yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    app()
