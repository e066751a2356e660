"""PSNR, SSIM and LPIPS of videos that belong together, against closed forms and restatements."""

import sys

import numpy as np
import pytest
import scipy.signal

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation import PairScore, lpips, psnr, ssim
from actavatar_jax.media import write_video

torch = pytest.importorskip("torch")

from tests.evaluation import originals, small_networks  # noqa: E402


def film(seed, frames=3, height=40, width=48):
    return np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), np.uint8)


def darker(frames, levels):
    return frames - np.minimum(frames, levels)


# ---- PSNR


def test_psnr_is_the_mean_over_frames():
    """Of errors of 4 and 16 levels everywhere; an exact frame counts as rounded, not as infinite."""
    grey = np.full((4, 8, 8, 3), 100, np.uint8)
    other = np.stack([grey[0] + 4, grey[1] + 16, grey[2] + 16, grey[3]])
    rounding = 10 * np.log10(255**2 * 12)
    of = {levels: 20 * np.log10(255 / levels) for levels in (4, 16)}
    found = psnr([grey[:3], grey[3:]], [other[:3], other[3:]])
    assert found.value == pytest.approx((of[4] + 2 * of[16] + rounding) / 4)
    assert found == PairScore("PSNR", found.value, found.interval, 4, 2, "peak 255")
    assert found.interval[0] <= (of[4] + 2 * of[16]) / 3 + 1e-9 and found.interval[1] == pytest.approx(rounding)
    assert psnr([grey], [other]).interval is None


def test_psnr_of_folders_is_of_the_videos_of_one_name(tmp_path):
    blocks = film(0, 5, 4, 5).repeat(12, axis=1).repeat(12, axis=2)
    for folder, levels in (("real", 0), ("decoded", 8)):
        for number, name in enumerate(("b.mp4", "a.mp4")):
            write_video(tmp_path / folder / name, darker(np.roll(blocks, number, axis=2), levels))
    found = psnr(tmp_path / "real", tmp_path / "decoded")
    assert (found.frames, found.videos) == (10, 2) and 27 < found.value < 34
    (tmp_path / "decoded" / "a.mp4").rename(tmp_path / "decoded" / "c.mp4")
    with pytest.raises(InputError, match=r"a\.mp4 and Video .*b\.mp4 are no pair; accepted are two folders of equal"):
        psnr(tmp_path / "real", tmp_path / "decoded")
    with pytest.raises(InputError, match="There are more real videos than 1 of the others"):
        psnr(tmp_path / "real", [blocks])


def test_what_is_no_pair():
    with pytest.raises(InputError, match=r"^Video 0 of those given ends after 2 frames, its pair does not"):
        psnr([film(0)], [film(1, 2)])
    with pytest.raises(InputError, match=r"have frames of 48x40 and 40x40; accepted are equal sizes"):
        psnr([film(0)], [film(1, width=40)])


# ---- SSIM


def structural_similarity(x, y):
    """As its authors write it: float64, of every place where the window lies inside, mean over colours."""
    taps = np.exp(-0.5 * ((np.arange(11) - 5) / 1.5) ** 2)
    window = np.outer(taps, taps) / taps.sum() ** 2
    x, y = x / 255, y / 255
    values = []
    for a, b in ((x[..., i], y[..., i]) for i in range(3)):
        ma, mb, aa, bb, ab = (scipy.signal.convolve2d(z, window, "valid") for z in (a, b, a * a, b * b, a * b))
        va, vb, covariance = aa - ma**2, bb - mb**2, ab - ma * mb
        light = (2 * ma * mb + 0.01**2) / (ma**2 + mb**2 + 0.01**2)
        values.append((light * (2 * covariance + 0.03**2) / (va + vb + 0.03**2)).mean())
    return np.mean(values)


def test_ssim_is_its_definition_inside_the_picture():
    pytest.importorskip("dm_pix")
    one = film(0, 2, 24, 30)
    other = np.stack([darker(one[0], 60), film(1, 1, 24, 30)[0]])
    found = ssim([one], [other])
    want = np.mean([structural_similarity(x, y) for x, y in zip(one, other, strict=True)])
    assert found.value == pytest.approx(want, abs=1e-5)
    assert (found.measure, found.backbone, found.frames) == ("SSIM", "dm-pix, 11x11 inside", 2)
    assert ssim([one], [one]).value == pytest.approx(1, abs=1e-6)
    with pytest.raises(InputError, match="SSIM got frames of 30x10; accepted are sides from 11 on"):
        ssim([film(0, 1, 10, 30)], [film(1, 1, 10, 30)])


def test_ssim_without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "dm_pix", None)
    with pytest.raises(InputError, match=r"^SSIM is not available: it needs dm-pix: .*actavatar-jax\[eval\]"):
        ssim([film(0)], [film(1)])


# ---- LPIPS


def test_lpips_is_that_of_the_original(monkeypatch, tmp_path):
    """Nine frames: a whole batch and one that is filled up."""
    models = small_networks.use(monkeypatch, tmp_path)
    one, other = film(0, 9), film(1, 9)
    found = lpips([one], [other], tmp_path / "alexnet.pth", tmp_path / "heads.pth")
    x, y = (torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1 for frames in (one, other))
    with torch.no_grad():
        want = originals.lpips(models["alexnet.pth"], models["heads.pth"], x, y).mean().item()
    assert found.value == pytest.approx(want, rel=1e-5)
    assert found.line() == f"LPIPS {found.value:.4g} | 9 frames of 1 video | AlexNet with LPIPS 0.1"
    with pytest.raises(InputError, match=r"LPIPS is not available: it needs alex\.pth, which is in the package lpips"):
        lpips([one], [other], tmp_path / "alexnet.pth", None)
