"""The metrics of a folder of videos by name, each opened with what it needs, or refused with one sentence."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from actavatar_jax.checks import checked, one_of
from actavatar_jax.errors import InputError, Skip
from actavatar_jax.evaluation.bench.clips import BenchClip
from actavatar_jax.evaluation.bench.energy import energy_curve, energy_ratio, profile_of
from actavatar_jax.evaluation.bench.kept import digest_file, digest_if_there
from actavatar_jax.evaluation.bench.metric import ClipMetric, Column, Metric, Row
from actavatar_jax.evaluation.bench.sets import open_set
from actavatar_jax.evaluation.dynamics import measure_dynamics, quiet_frames
from actavatar_jax.evaluation.faces import open_boxes, open_embedder, open_yunet
from actavatar_jax.evaluation.identity import reference_cosines
from actavatar_jax.evaluation.pairs import Comparison, open_lpips, open_psnr, open_ssim
from actavatar_jax.evaluation.published import PUBLISHED, read_published, require_file
from actavatar_jax.evaluation.sets import RESAMPLES
from actavatar_jax.evaluation.synchrony import MIN_TRACKS
from actavatar_jax.evaluation.videos import Source
from actavatar_jax.functional import Params
from actavatar_jax.keypoints import CONFIDENT, Landmarker
from actavatar_jax.media import load_image, probe, read_frames
from actavatar_jax.media.audio import decode_audio
from actavatar_jax.synchrony import MIN_FACE, MIN_TRACK, NotScored, score_synchrony
from actavatar_jax.synchrony.syncnet import load_syncnet

FACE, SYNCNET, ARCFACE = "face.onnx", "syncnet_v2.model", "w600k_r50.onnx"
PERSON, POSE = "person.onnx", "pose.onnx"


@dataclass(frozen=True)
class Needs:
    """weights: folder of published networks. real: folder of real videos. judge: opens the judge, if one is told.
    resamples: draws of the intervals of sets."""

    weights: Path | None = None
    real: Path | None = None
    judge: Callable[[], Metric] | None = None
    resamples: int = RESAMPLES


def open_metric(name: str, needs: Needs) -> Metric:
    """Raises InputError: the metric is not available, and why."""
    return METRICS[name](needs)


def parse_names(names: str | Sequence[str] | None) -> tuple[str, ...]:
    """The metrics in a list, or in text with commas; None are all that need no server. InputError for others."""
    if names is None:
        return tuple(name for name in METRICS if name != "judge")
    names = names.split(",") if isinstance(names, str) else names
    return tuple(dict.fromkeys(checked("metric", name.strip(), str, one_of(*METRICS)) for name in names))


# ---- of single clips


def _open_energy(needs: Needs) -> Metric:
    def measure(clip: BenchClip) -> Row:
        curve = energy_curve(clip.path)
        found = energy_ratio(curve, clip.item.windows)
        return {"energy": found.ratio, "energy_shuffled": found.shuffled, "profile": profile_of(curve)}

    columns = (
        Column("energy", "movement inside windows over outside", "higher"),
        Column("energy_shuffled", "... inside shuffled windows over outside"),
    )
    about = {"backbone": "frame differences, grey, shorter side 128"}
    return ClipMetric("energy", columns, measure, about, lambda clip: [2, clip.item.windows])


def _open_sync(needs: Needs) -> Metric:
    files = [_weights(needs, "Lip synchrony", name) for name in (SYNCNET, FACE)]
    syncnet, find_faces = load_syncnet(files[0]), open_boxes(files[1])

    def measure(clip: BenchClip) -> Row:
        found = score_synchrony(clip.path, syncnet, find_faces)
        if isinstance(found, NotScored):
            raise Skip(found.reason, found.detail)
        scores = found.scores
        return {
            "sync_c": scores.confidence,
            "sync_d": scores.distance,
            "sync_offset": scores.offset,
            "sync_track": found.track,
        }

    def scored_at(rows: Sequence[Row]) -> Mapping[str, int]:
        return {f"minimum track {length}": sum(row["sync_track"] > length for row in rows) for length in MIN_TRACKS}

    columns = (
        Column("sync_c", "Sync-C", "higher"),
        Column("sync_d", "Sync-D", "lower"),
        Column("sync_offset", "sound ahead, frames", mean=False),
        Column("sync_track", "frames of the face", mean=False),
    )
    about = {"backbone": f"SyncNet v2, YuNet, more than {MIN_TRACK} frames and {MIN_FACE} pixels", **_digests(files)}
    return ClipMetric("sync", columns, measure, about, lambda clip: [1, about], scored_at=scored_at)


def _open_csim(needs: Needs) -> Metric:
    files = [_weights(needs, "CSIM", name) for name in (ARCFACE, FACE)]
    embed, find_marks = open_embedder(files[0]), open_yunet(files[1])

    def measure(clip: BenchClip) -> Row:
        reference, source = load_image(clip.item.image), Source(clip.path.name, clip.path)
        cosines, frames = reference_cosines(reference, source, embed, find_marks, f"The picture {clip.item.image.name}")
        if not len(cosines):
            raise Skip("no face", "no frame has a face that was found")
        lowest, coverage = float(np.percentile(cosines, 5)), len(cosines) / frames
        return {"csim": float(cosines.mean()), "csim_lowest": lowest, "csim_coverage": coverage}

    columns = (
        Column("csim", "CSIM", "higher"),
        Column("csim_lowest", "CSIM, 5th percentile of frames", "higher"),
        Column("csim_coverage", "frames with a face", mean=False),
    )
    about = {"backbone": f"ArcFace {files[0].name}, YuNet, crop of 112x112", **_digests(files)}
    return ClipMetric(
        "csim", columns, measure, about, lambda clip: [1, about, digest_if_there(clip.item.image)], "no reference"
    )


def _open_dynamics(needs: Needs) -> Metric:
    files = [_weights(needs, "Dynamics of the face", name) for name in (PERSON, POSE)]
    Landmarker(*files)

    def measure(clip: BenchClip) -> Row:
        keypoints = np.stack(list(Landmarker(*files)(read_frames(clip.path))))
        samples = decode_audio(clip.path, origin=probe(clip.path).start)
        found = measure_dynamics(keypoints, quiet_frames(samples, len(keypoints)))
        return {f"dynamics_{name}": value for name, value in vars(found).items()}

    columns = (
        Column("dynamics_lips", "lip dynamics, in distances of the eyes"),
        Column("dynamics_head", "head dynamics, distances a second"),
        Column("dynamics_brows", "brow dynamics, distances"),
        Column("dynamics_silent", "speed of silent lips, distances a second", "lower"),
        Column("dynamics_hkc", "HKC, confidence of hands", "higher"),
        Column("dynamics_hkv", "HKV, variance of hands, squared distances"),
        Column("dynamics_coverage", "frames with the face"),
        Column("dynamics_hands", "points of hands that are found"),
        Column("dynamics_silence", "share of time in silence"),
    )
    about = {"backbone": f"DWPose, confidence {CONFIDENT:g}", **_digests(files)}
    return ClipMetric("dynamics", columns, measure, about, lambda clip: [1, about])


# ---- of clips beside real ones


def _open_pairs(
    name: str, title: str, better: str, open_comparison: Callable[[Needs], tuple[Comparison, list[Path]]], needs: Needs
) -> Metric:
    if needs.real is None:
        raise InputError(
            f"{title} is not available: it compares with real videos of the clips' names; none were given."
        )
    comparison, files = open_comparison(needs)
    real = needs.real

    def pair(clip: BenchClip) -> Path:
        return real / clip.path.name

    def measure(clip: BenchClip) -> Row:
        if not pair(clip).is_file():
            raise Skip("no pair", f"there is no real video {clip.path.name}")
        one, other = (Source(f"Video {path.parent.name}/{path.name}", path) for path in (pair(clip), clip.path))
        return {name: float(comparison.of(one, other).mean())}

    about = {"backbone": comparison.backbone, **_digests(files)}
    columns = (Column(name, title, better),)
    return ClipMetric(
        name, columns, measure, about, lambda clip: [1, about, digest_if_there(pair(clip))], "no fitting pair"
    )


def _psnr(needs: Needs) -> tuple[Comparison, list[Path]]:
    return open_psnr(), []


def _ssim(needs: Needs) -> tuple[Comparison, list[Path]]:
    return open_ssim(), []


def _lpips(needs: Needs) -> tuple[Comparison, list[Path]]:
    files = [_published(needs, "LPIPS", "lpips", number) for number in (0, 1)]
    return open_lpips(*files), files


# ---- weights


def _published(needs: Needs, measure: str, network: str, number: int = 0) -> Path:
    published = PUBLISHED[network]
    path = None if needs.weights is None else needs.weights / published.files[number]
    return require_file(measure, path, published.files[number])


def _read(network: str, measure: str, folder: Path) -> Params:
    return read_published(network, measure, [folder / file for file in PUBLISHED[network].files])


def _weights(needs: Needs, measure: str, file: str) -> Path:
    return require_file(measure, None if needs.weights is None else needs.weights / file, file)


def _digests(files: Sequence[Path]) -> Mapping[str, Any]:
    return {"weights": {file.name: digest_file(file) for file in files}} if files else {}


def _open_judge(needs: Needs) -> Metric:
    if needs.judge is None:
        raise InputError("The judge is not available: no server and no model were told.")
    return needs.judge()


def _set(network: str, name: str, needs: Needs) -> Metric:
    weights = _published(needs, name.upper(), network)
    return open_set(name, weights, needs.real, _digests([weights]), needs.resamples)


METRICS: dict[str, Callable[[Needs], Metric]] = {
    "energy": _open_energy,
    "sync": _open_sync,
    "csim": _open_csim,
    "dynamics": _open_dynamics,
    "psnr": functools.partial(_open_pairs, "psnr", "PSNR, dB", "higher", _psnr),
    "ssim": functools.partial(_open_pairs, "ssim", "SSIM", "higher", _ssim),
    "lpips": functools.partial(_open_pairs, "lpips", "LPIPS", "lower", _lpips),
    "fid": functools.partial(_set, "inception", "fid"),
    "kid": functools.partial(_set, "inception", "kid"),
    "fvd": functools.partial(_set, "i3d", "fvd"),
    "judge": _open_judge,
}
# Of metrics that stand on published networks: their files, and what opens them in a folder.
OPENINGS: dict[str, tuple[tuple[str, ...], Callable[[Path], object]]] = {
    "sync": ((SYNCNET, FACE), lambda folder: _open_sync(Needs(folder))),
    "csim": ((ARCFACE, FACE), lambda folder: _open_csim(Needs(folder))),
    "dynamics": ((PERSON, POSE), lambda folder: _open_dynamics(Needs(folder))),
    "lpips": (PUBLISHED["lpips"].files, lambda folder: _lpips(Needs(folder))),
    "fid, kid": (PUBLISHED["inception"].files, functools.partial(_read, "inception", "FID")),
    "fvd": (PUBLISHED["i3d"].files, functools.partial(_read, "i3d", "FVD")),
}
