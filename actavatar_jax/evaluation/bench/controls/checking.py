"""All controls of a folder of videos: twins are made, measured as any videos are, and compared with the whole ones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.bench.clips import BenchClip, find_clips
from actavatar_jax.evaluation.bench.controls import twins
from actavatar_jax.evaluation.bench.controls.expectations import SAME, Expectation, Outcome, judge_expectation
from actavatar_jax.evaluation.bench.items import BenchItem, read_bench, write_bench
from actavatar_jax.evaluation.bench.judge import JudgeSettings
from actavatar_jax.evaluation.bench.kept import Kept, digest_file, digest_if_there
from actavatar_jax.evaluation.bench.metric import Metric
from actavatar_jax.evaluation.bench.metrics import parse_names
from actavatar_jax.evaluation.bench.report import BenchReport
from actavatar_jax.evaluation.bench.videos import evaluate_videos
from actavatar_jax.media import FPS, Sound, probe, read_frames, write_video
from actavatar_jax.media.decoding import decode_sound
from actavatar_jax.storage import write_json

WHOLE = "whole"  # written again as the others are: writing alone moves some measures


@dataclass(frozen=True)
class Control:
    """One way of spoiling. other_sound: each video has the sound of the next one; other_picture: its reference."""

    name: str
    expectations: tuple[Expectation, ...]
    frames: twins.SpoilFrames = lambda frames: frames
    sound: twins.SpoilSound = lambda sound: sound
    item: twins.SpoilItem = lambda item: item
    other_sound: bool = False
    other_picture: bool = False


CONTROLS = (
    Control(
        "frozen",
        (
            Expectation("energy", "not scored"),
            Expectation("judge_hit", "at most", 0.1),
            Expectation("judge_aa", "at most", 1.0),
            Expectation("dynamics_lips", "falls"),
            Expectation("dynamics_head", "falls"),
            Expectation("dynamics_brows", "falls"),
        ),
        frames=twins.freeze,
    ),
    Control(
        "swapped",
        (
            Expectation("judge_hit", "falls"),
            Expectation("judge_tc", "falls"),
            Expectation("judge_aq", "stays", SAME),
            Expectation("judge_hc", "stays", SAME),
        ),
        item=twins.swap_actions,
    ),
    Control("reversed", (Expectation("judge_tc", "falls"),), frames=twins.turn_back),
    Control("silent", (Expectation("sync_c", "not scored"),), sound=twins.silence),
    Control("late", (Expectation("sync_offset", "moves", -twins.LATE),), sound=twins.delay),
    Control("other sound", (Expectation("sync_c", "falls"), Expectation("sync_d", "rises")), other_sound=True),
    Control("other picture", (Expectation("csim", "falls"),), other_picture=True),
    Control(
        "blurred",
        (
            Expectation("psnr", "falls"),
            Expectation("ssim", "falls"),
            Expectation("lpips", "rises"),
            Expectation("fid", "rises"),
            Expectation("kid", "rises"),
            Expectation("fvd_16", "rises"),
            Expectation("fvd_125", "rises"),
        ),
        frames=twins.blur,
    ),
)


@dataclass(frozen=True)
class ControlsReport:
    """What was expected of each measure, and what was found."""

    outcomes: Sequence[Outcome]

    def table(self) -> str:
        measured = [outcome.held for outcome in self.outcomes if outcome.held is not None]
        last = f"{sum(measured)} of {len(measured)} as they should; {len(self.outcomes) - len(measured)} not measured"
        return "\n".join([*(outcome.line() for outcome in self.outcomes), last])


def check_controls(
    results: str | Path,
    bench: str | Path,
    out: str | Path,
    *,
    metrics: str | Sequence[str] | None = None,
    weights: str | Path | None = None,
    judge: JudgeSettings | None = None,
    stand_ins: Sequence[Metric] = (),
    progress: bool = True,
) -> ControlsReport:
    """Spoils the videos of a folder in every way of `CONTROLS`, measures all, and writes `out/controls.json`.

    The twins, and a report of each way, lie in `out/<control>`; what was written or measured is not so again.
    Arguments are those of `evaluate_videos`; the videos themselves are the real ones with which sets and pairs are
    compared.

    Raises:
      InputError: as `evaluate_videos`; or there is no video that can be measured.
    """
    names, out = parse_names(metrics), Path(out)
    asked = {control: own for control in CONTROLS if (own := _asked(control, names))}
    items, kept = read_bench(bench), Kept(out / "kept")
    clips = find_clips(results, items, kept, lambda: None).clips
    if not clips:
        raise InputError("None of the videos that the bench asks for can be measured, so that there is none to spoil.")

    def measure(control: Control, wanted: Sequence[str]) -> BenchReport:
        folder = out / control.name.replace(" ", "_")
        _write_twins(control, clips, folder / "videos", kept)
        asked_for = _with_other_pictures(clips) if control.other_picture else [clip.item for clip in clips]
        items = [item for one in asked_for if (item := control.item(one))]
        write_bench([replace(item, fps=float(FPS)) for item in items], folder / "bench.jsonl")  # as twins are written
        return evaluate_videos(
            folder / "videos",
            folder / "bench.jsonl",
            folder / "report",
            metrics=wanted,
            weights=weights,
            real=results,
            judge=judge,
            stand_ins=stand_ins,
            kept=kept.folder,
            resamples=0,  # of sets the values alone are compared
            progress=progress,
        )

    whole = measure(Control(WHOLE, ()), names)
    outcomes = []
    for control, own in asked.items():
        expected = [expectation for expectation in control.expectations if _metric(expectation) in own]
        if reason := _cannot(control, clips):
            outcomes += [Outcome(control.name, e.column, e.column, e.words, reason, None) for e in expected]
            continue
        spoilt = measure(control, own)
        outcomes += [judge_expectation(control.name, expectation, whole, spoilt) for expectation in expected]
    report = ControlsReport(outcomes)
    write_json(out / "controls.json", [vars(outcome) for outcome in outcomes])
    return report


def _cannot(control: Control, clips: Sequence[BenchClip]) -> str | None:
    """Why a control would change nothing of these clips."""
    if control.other_sound and len(clips) < 2:
        return "there is no second video"
    if control.other_picture and len({_picture(clip) for clip in clips}) < 2:
        return "there is no second picture"
    if all(control.item(clip.item) is None for clip in clips):
        return "no prompt has two actions"
    return None


def _asked(control: Control, names: Sequence[str]) -> list[str]:
    """The metrics of a control among those that are asked for."""
    own = {_metric(expectation) for expectation in control.expectations}
    return [name for name in names if name in own]


def _metric(expectation: Expectation) -> str:
    return expectation.column.partition("_")[0]


def _with_other_pictures(clips: Sequence[BenchClip]) -> list[BenchItem]:
    """The items, each with the next picture that is another one: systems may be asked for one person several times."""
    items = []
    for number, clip in enumerate(clips):
        others = (other for other in [*clips[number:], *clips[:number]] if _picture(other) != _picture(clip))
        items.append(replace(clip.item, image=next(others, clip).item.image))
    return items


def _picture(clip: BenchClip) -> str | None:
    """What tells reference pictures apart."""
    return digest_if_there(clip.item.image)


def _write_twins(control: Control, clips: Sequence[BenchClip], folder: Path, kept: Kept) -> None:
    """Those that are not there yet, of the same videos and spoilt in the same way."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, clip in enumerate(clips):
        heard = clips[(number + 1) % len(clips)] if control.other_sound else clip
        path, stands_on = (
            folder / f"{clip.item.id}.mp4",
            ("twin", twins.VERSION, control.name, clip.digest, heard.digest),
        )
        written = kept.get(*stands_on)
        if written is not None and digest_if_there(path) == written.get("digest"):
            continue
        sound = _sound(heard.path, clip.frames)
        sound = None if sound is None else control.sound(sound)
        write_video(path, control.frames(_even(clip.path)), sound)
        kept.put({"digest": digest_file(path)}, *stands_on)


def _even(path: Path) -> Iterator:
    """The frames without a last row or column that mp4 does not take."""
    for frame in read_frames(path):
        yield frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]


def _sound(path: Path, frames: int) -> Sound | None:
    """From the first picture on, as long as the frames; None of a silent file."""
    sound = decode_sound(path, origin=probe(path).start, max_seconds=Fraction(frames, FPS))
    return None if sound is None or not len(sound.samples) else sound.fit(frames)
