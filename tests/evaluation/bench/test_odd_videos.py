"""A folder with everything that can be wrong with videos, and weights that are others: one reason each."""

import json

import numpy as np
import pytest
from PIL import Image

for package in ("cv2", "jinja2", "onnx", "onnxruntime", "torch"):
    pytest.importorskip(package)

import onnx  # noqa: E402
import torch  # noqa: E402

from actavatar_jax.evaluation.bench import evaluate_videos  # noqa: E402
from actavatar_jax.media import load_video, write_video  # noqa: E402
from tests.data import tiny_models  # noqa: E402
from tests.data.filters.test_voice_and_sync import talker  # noqa: E402
from tests.evaluation.bench.small_bench import rows  # noqa: E402
from tests.evaluation.test_identity import save_network  # noqa: E402

pytestmark = pytest.mark.usefixtures("quick_compilation")
FRAMES = 60
WRONG = {  # clip -> the metrics that have no number of it, and why
    "missing": {"all": "missing"},
    "torn": {"all": "torn"},
    "film": {"all": "other rate"},  # 24 frames a second
    "instant": {"all": "too short"},  # one frame
    "silent": {"sync": "no sound"},
    "faceless": {"sync": "no face", "csim": "no face"},
    "twice": {},  # two faces, of which the one that is seen longer is scored
    "right": {},
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    tiny_models.face(folder / "face.onnx")
    tiny_models.syncnet(folder / "syncnet_v2.model")
    save_network(onnx, folder / "w600k_r50.onnx", 112)
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The bench, and all videos in `results`."""
    root = tmp_path_factory.mktemp("odd")
    talker(root, frames=FRAMES)
    video = load_video(root / "clips" / "talk.mp4")
    frames, sound = video.frames, video.audio
    Image.fromarray(frames[0]).save(root / "face.png")
    item = rows()[0] | {"duration": FRAMES / 25}
    (root / "bench.jsonl").write_text("".join(json.dumps(item | {"id": name}) + "\n" for name in WRONG))
    results = root / "results"
    results.mkdir()
    twice = np.concatenate([frames, frames], axis=2)
    twice[20:, :, 256:] = 0  # the other face leaves
    dark = np.zeros_like(frames)
    dark[:, 64:160, 64:160] = 3 * np.arange(FRAMES)[:, None, None, None]  # grey that grows brighter
    for name, pictures, heard, fps in (
        ("film", frames[:58], sound, 24),
        ("instant", frames[:1], sound[:640], 25),
        ("silent", frames, None, 25),
        ("faceless", dark, sound, 25),
        ("twice", twice, sound, 25),
        ("right", frames, sound, 25),
        ("extra", frames, sound, 25),
    ):
        write_video(results / f"{name}.mp4", pictures, heard, fps)
    (results / "torn.mp4").write_bytes((results / "right.mp4").read_bytes()[:5000])
    return root


def measured(world, out, weights, metrics, results="results"):
    options = {"metrics": metrics, "weights": weights, "real": world / "results", "progress": False}
    report = evaluate_videos(world / results, world / "bench.jsonl", out, **options)
    return report, json.loads((out / "report.json").read_text())


def test_every_odd_video_ends_in_the_table_or_with_one_reason(world, weights, tmp_path):
    report, told = measured(world, tmp_path, weights, "energy,sync,csim")
    found = {clip["id"]: {m: why["reason"] for m, why in clip["not_scored"].items()} for clip in told["clips"]}
    assert found == WRONG and told["extra"] == ["extra.mp4"]
    scored = {name: told["metrics"][name]["scored"] for name in ("energy", "sync", "csim")}
    assert scored == {"energy": 4, "sync": 2, "csim": 3}
    assert {name: told["metrics"][name]["coverage"] for name in scored} == {n: k / 8 for n, k in scored.items()}
    assert told["metrics"]["sync"]["figures"]["sync_c"]["clips"] == 2
    assert "sync, not scored: 1 no sound, 1 no face" in report.table()
    assert report.row("twice")["sync_track"] == report.row("right")["sync_track"]
    assert report.row("silent")["csim"] == pytest.approx(report.row("right")["csim"], abs=0.01)


def test_a_bench_of_other_videos_has_no_number_and_says_so(world, weights, tmp_path):
    (world / "others").mkdir(exist_ok=True)
    (world / "others" / "somebody.mp4").write_bytes((world / "results" / "right.mp4").read_bytes())
    report, told = measured(world, tmp_path, weights, "energy,psnr", results="others")
    assert {clip["not_scored"]["all"]["reason"] for clip in told["clips"]} == {"missing"}
    assert told["extra"] == ["somebody.mp4"]
    assert (
        told["metrics"]["energy"]["coverage"] == 0 and told["metrics"]["energy"]["figures"]["energy"]["value"] is None
    )
    assert "movement inside windows over outside: none | 0 of 8 clips" in report.table()
    assert "not scored by any: 8 missing" in report.table()


@pytest.mark.parametrize(
    "metric, file",
    [
        ("fid", "pt_inception-2015-12-05-6726825d.pth"),
        ("fvd", "i3d_pretrained_400.pt"),
        ("sync", "syncnet_v2.model"),
        ("csim", "w600k_r50.onnx"),
    ],
)
def test_weights_of_another_layout_are_refused_and_the_other_metrics_go_on(world, weights, tmp_path, metric, file):
    for path in weights.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / file).unlink(missing_ok=True)
    if file.endswith("onnx"):
        save_network(onnx, tmp_path / file, 96)
    else:
        torch.save({"layer.weight": torch.zeros(2, 3)}, tmp_path / file)
    _, told = measured(world, tmp_path / "out", tmp_path, f"energy,{metric}")
    refused = told["metrics"][metric]
    assert not refused["available"] and file in refused["reason"] and told["metrics"]["energy"]["scored"] == 4
