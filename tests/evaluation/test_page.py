"""Distances in docs/evaluation.md as they stand there, on small films and narrow networks."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from actavatar_jax.evaluation import sets
from actavatar_jax.media import write_video

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
for package in ("cv2", "dm_pix", "onnxruntime"):
    pytest.importorskip(package)

from tests.data.full_models.yunet import face  # noqa: E402
from tests.evaluation import small_networks  # noqa: E402
from tests.evaluation.test_identity import save_network  # noqa: E402

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "evaluation.md").read_text()
FILES = {
    "inception.pth": "pt_inception-2015-12-05-6726825d.pth",
    "i3d.pt": "i3d_pretrained_400.pt",
    "alexnet.pth": "alexnet-owt-7be5be79.pth",
    "heads.pth": "alex.pth",
}


@pytest.mark.slow
def test_the_example_runs(tmp_path, monkeypatch, quick_compilation, capsys):
    """Windows of 16 frames stand for the page's whole clips; intervals are of two draws."""
    monkeypatch.chdir(tmp_path)
    Path("weights").mkdir()
    small_networks.use(monkeypatch, Path("weights"))
    for ours, theirs in FILES.items():
        Path("weights", ours).rename(Path("weights", theirs))
    onnx.save(face(), "weights/face_detection_yunet_2023mar.onnx")
    save_network(onnx, Path("weights/w600k_r50.onnx"), 112)
    interval = sets.frechet_interval
    monkeypatch.setattr(sets, "frechet_interval", lambda value, one, other, resamples: interval(value, one, other, 2))
    for seed, name in enumerate("ab"):
        blocks = np.random.default_rng(seed).integers(0, 256, (18, 6, 8, 3), np.uint8)
        film = blocks.repeat(16, axis=1).repeat(16, axis=2)
        Image.fromarray(film[0]).save(f"{name}.png")
        for folder, levels in (("real", 0), ("generated", 90), ("decoded", 8)):
            write_video(Path(folder, f"{name}.mp4"), film - np.minimum(film, levels))

    (example,) = re.findall(r"```python\n(.*?)```", PAGE.partition("## Distances between")[2], re.S)
    exec(example.replace("frames=125", "frames=16"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        *("FID", "KID", "fvd_16", "fvd_16", "PSNR", "SSIM", "LPIPS", "CSIM"),
    ]
    assert "36 and 36 samples of 2 and 2 videos" in lines[0] and "2 and 2 samples of 2 and 2 videos" in lines[2]
    assert all("36 frames of 2 videos" in line for line in lines[4:]) and "coverage 100.0%" in lines[7]


def test_the_files_of_the_page_are_those_that_measures_ask_for():
    from actavatar_jax.evaluation.published import PUBLISHED

    table = PAGE[PAGE.index("## Weights") : PAGE.index("## Beside")]
    for published in PUBLISHED.values():
        assert all(f"`{file}`" in table for file in published.files)
