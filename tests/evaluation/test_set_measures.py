"""FID, KID and FVD of videos, from files and frames to the result, against restatements in PyTorch; narrow networks."""

import numpy as np
import pytest
from safetensors.torch import save_file

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation import SetDistance, features, fid, fvd, kid
from actavatar_jax.evaluation.frechet import frechet_distance, statistics
from actavatar_jax.evaluation.kernel import kernel_distance
from actavatar_jax.evaluation.videos import each_video
from actavatar_jax.media import read_frames, write_video

torch = pytest.importorskip("torch")

from tests.evaluation import small_networks  # noqa: E402

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """(the folder of weights, the restated models by file)."""
    folder = tmp_path_factory.mktemp("weights")
    with pytest.MonkeyPatch.context() as patch:
        yield folder, small_networks.use(patch, folder)


def film(seed, frames=6, height=48, width=64):
    """Blocks of colour that change from frame to frame."""
    blocks = np.random.default_rng(seed).integers(0, 256, (frames, 6, 8, 3), np.uint8)
    return blocks.repeat(height // 6, axis=1).repeat(width // 8, axis=2)


SIDE = small_networks.INCEPTION_SIDE
REAL, GENERATED = [film(0), film(1, 5)], [film(seed) // 4 for seed in (2, 3, 4)]


def resized(frames, side, **options):
    """Frames [F, h, w, 3] as float32 [F, 3, side, side] in 0..255, computed in float64."""
    planes = torch.from_numpy(frames).permute(0, 3, 1, 2).double()
    return torch.nn.functional.interpolate(planes, (side, side), align_corners=False, **options).float()


def inception_features(model, frames, resize):
    with torch.no_grad():
        if resize == "clean":
            x = resized(frames, SIDE, mode="bicubic", antialias=True).clamp(0, 255)
            return model((x - 128) / 128).numpy()
        return model(2 * (resized(frames, SIDE, mode="bilinear") / 255) - 1).numpy()


# ---- what networks are given


@pytest.mark.parametrize(("height", "width"), [(48, 64), (400, 350)])
def test_resizes_are_those_of_their_names(height, width):
    """Smaller and larger: antialiasing differs only where pictures shrink, and bicubic leaves 0..255."""
    frame = np.random.default_rng(0).integers(0, 2, (height, width, 3)).astype(np.uint8) * 255
    clean = resized(frame[None], 299, mode="bicubic", antialias=True)[0].permute(1, 2, 0)
    assert clean.min() < -1 and clean.max() > 256
    np.testing.assert_allclose(features.clean_resize(frame, 299), (clean.clamp(0, 255).numpy() - 128) / 128, atol=1e-5)
    legacy = resized(frame[None], 299, mode="bilinear")[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(features.plain_resize(frame, 299), legacy / 127.5 - 1, atol=1e-5)


# ---- FID and KID


@pytest.mark.parametrize("resize", ["clean", "legacy_pytorch"])
def test_fid_is_the_distance_of_the_originals_features(small, resize):
    folder, models = small
    found = fid(REAL, GENERATED, folder / "inception.pth", resize=resize, resamples=0)
    sets = [
        [inception_features(models["inception.pth"], video, resize) for video in side] for side in (REAL, GENERATED)
    ]
    want = frechet_distance(*(statistics(groups) for groups in sets))
    assert found.value == pytest.approx(want, rel=1e-4)
    assert found == SetDistance(
        "FID", found.value, None, (11, 18), (2, 3), "Inception v3 of 2015-12-05", f"{resize}, 107x107"
    )
    assert found.line() == (
        f"FID {found.value:.4g} | 11 and 18 samples of 2 and 3 videos | Inception v3 of 2015-12-05 | {resize}, 107x107"
    )


def test_kid_is_the_distance_of_the_originals_features(small):
    folder, models = small
    found = kid(REAL, GENERATED, folder / "inception.pth", resamples=20)
    sets = [
        [inception_features(models["inception.pth"], video, "clean") for video in side] for side in (REAL, GENERATED)
    ]
    assert found.value == pytest.approx(kernel_distance(*sets)[0], rel=1e-4)
    assert (found.measure, found.samples, found.videos) == ("KID", (11, 18), (2, 3))
    assert found.interval[0] < found.interval[1]
    low, high = (f"{bound:.4g}" for bound in found.interval)
    assert found.line().startswith(f"KID {found.value:.4g} ({low} to {high}) | ")


def test_one_set_has_no_distance_from_itself_however_its_frames_come(small, tmp_path):
    """From files of a folder, from paths, and from iterators of the same frames."""
    folder, _ = small
    for name, video in (("b.mp4", REAL[0]), ("a.mp4", GENERATED[0])):
        write_video(tmp_path / name, video)
    (tmp_path / "notes.txt").write_text("no video")
    paths = [tmp_path / "a.mp4", str(tmp_path / "b.mp4")]
    frames = (read_frames(path) for path in paths)
    weights = folder / "inception.pth"
    for other in (paths, frames):
        found = fid(tmp_path, other, weights, resamples=0)
        assert found.value == pytest.approx(0, abs=1e-6) and found.samples == (12, 12)


def test_features_of_files_are_kept_while_files_and_weights_are_the_same(small, tmp_path, monkeypatch):
    folder, _ = small
    for side, video in (("real", REAL[0]), ("generated", GENERATED[0])):
        write_video(tmp_path / side / "one.mp4", video)
    cache, computed = tmp_path / "features", []
    original = features.run_batches

    def counted(*arguments):
        computed.append(1)
        return original(*arguments)

    monkeypatch.setattr(features, "run_batches", counted)

    def value(weights="inception.pth", **options):
        computed.clear()
        sides = tmp_path / "real", tmp_path / "generated"
        return fid(*sides, folder / weights, resamples=0, cache=cache, **options).value

    first = value()
    assert len(computed) == 2 and len(list(cache.iterdir())) == 2
    assert value() == first and not computed
    assert value(resize="legacy_pytorch") != first and len(computed) == 2
    write_video(tmp_path / "real" / "one.mp4", GENERATED[1])
    assert value() != first and len(computed) == 1
    small_networks.originals.random_weights(small[1]["inception.pth"], seed=1)
    save_file(small[1]["inception.pth"].state_dict(), folder / "other.safetensors")
    assert value("other.safetensors") != first and len(computed) == 2
    small_networks.originals.random_weights(small[1]["inception.pth"])


# ---- FVD


def test_fvd_is_the_distance_of_the_originals_logits(small):
    """Of windows side by side, whose rest is left out; of whole clips where the window is as long as they."""
    folder, models = small
    sides = [film(0, 25), film(1, 21)], [film(2, 25), film(3, 30)]
    found = fvd(*sides, folder / "i3d.pt", frames=10, resamples=0)
    sets = []
    for side in sides:
        windows = np.concatenate([video[: len(video) // 10 * 10].reshape(-1, 10, *video.shape[1:]) for video in side])
        x = torch.stack([resized(window, small_networks.I3D_SIDE, mode="bilinear") / 127.5 - 1 for window in windows])
        with torch.no_grad():
            sets.append(models["i3d.pt"](x.transpose(1, 2)).numpy())
    want = frechet_distance(*(statistics([group]) for group in sets))
    assert found.value == pytest.approx(want, rel=1e-4)
    assert (found.measure, found.samples, found.videos) == ("fvd_10", (4, 5), (2, 2))
    assert found.backbone == "I3D of Kinetics-400, logits"
    assert found.resize == "bilinear, 64x64, windows of 10 frames"


def test_windows_that_cannot_be(small):
    folder, _ = small
    with pytest.raises(InputError, match=r"^Video 0 of those given has 5 frames; FVD takes at least 12\.$"):
        fvd([film(1, 5), film(0, 12)], GENERATED, folder / "i3d.pt", frames=12)
    with pytest.raises(
        InputError, match="number of frames of a window is 8; accepted is a whole number from 10 to 10000"
    ):
        fvd(REAL, GENERATED, folder / "i3d.pt", frames=8)


# ---- what is refused


def test_without_weights_there_is_no_number(small, tmp_path):
    folder, _ = small
    file, place = r"pt_inception-2015-12-05-6726825d\.pth", r"the releases of github\.com/mseitzer/pytorch-fid"
    need = rf"is not available: it needs {file}, which is in {place}"
    for measure, compute in (("FID", fid), ("KID", kid)):
        with pytest.raises(InputError, match=rf"^{measure} {need}; no path to it was given"):
            compute(REAL, GENERATED, None)
    with pytest.raises(InputError, match=rf"{need}; there is no file .*gone\.pth\.$"):
        fid(REAL, GENERATED, tmp_path / "gone.pth")
    with pytest.raises(InputError, match=r"FVD is not available: it needs i3d_pretrained_400\.pt, which is in "):
        fvd(REAL, GENERATED, None)
    with pytest.raises(InputError, match=r"tensors do not fit FVD's I3D of Kinetics-400"):
        fvd(REAL, GENERATED, folder / "inception.pth")


@pytest.mark.parametrize(
    ("videos", "problem"),
    [
        ([], "Got no videos; accepted is at least one"),
        ([np.zeros((0, 48, 64, 3), np.uint8)], "Video 0 of those given holds no frame"),
        (film(0), r"Video 0 of those given holds an array uint8 \[64, 3\] in the place of a frame"),
        ([film(0) / 255], r"holds an array float64 \[48, 64, 3\] in the place of a frame; accepted are arrays uint8"),
        ([[7]], "holds 7 in the place of a frame"),
        (["gone.mp4"], r"gone\.mp4: there is no such file"),
        ("gone", "gone: there is no such file"),
    ],
)
def test_what_is_no_set_of_videos(videos, problem):
    with pytest.raises(InputError, match=problem):
        [list(source.frames()) for source in each_video(videos)]


def test_wrong_options(small, tmp_path):
    weights = small[0] / "inception.pth"
    with pytest.raises(InputError, match="way of resizing is 'lanczos'; accepted is clean or legacy_pytorch"):
        fid(REAL, GENERATED, weights, resize="lanczos")
    with pytest.raises(InputError, match="number of resamples is -1"):
        fid(REAL, GENERATED, weights, resamples=-1)
    with pytest.raises(InputError, match="holds no video; accepted are files such as"):
        fid(tmp_path, GENERATED, weights)
    with pytest.raises(InputError, match="The sets are of 1 and 3 videos; a kernel distance takes at least 2"):
        kid(REAL[:1], GENERATED, weights)
