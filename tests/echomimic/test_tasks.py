"""Tasks as masks against the original's own arithmetic in PyTorch, and what is refused."""

import jax
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.echomimic import tasks
from actavatar_jax.errors import InputError
from actavatar_jax.models.wan_vae import WanVAE
from tests.echomimic.small import relative_error
from tests.echomimic.tiny import VAE, component

H, W = 16, 24
RNG = np.random.default_rng(0)
VIDEO = RNG.integers(0, 256, (17, H, W, 3), np.uint8)


def original_mask(known, stride):
    """1 - mask, frame 0 four times, folded, latent 0 interpolated on its own."""
    torch = pytest.importorskip("torch")
    mask = torch.from_numpy(known).float()[None, None]
    mask = torch.cat([mask[:, :, :1].repeat_interleave(4, 2), mask[:, :, 1:]], 2)
    mask = mask.reshape(1, -1, 4, *mask.shape[-2:]).transpose(1, 2)

    def resize(part):
        size = (part.shape[2], part.shape[3] // stride, part.shape[4] // stride)
        return torch.nn.functional.interpolate(part, size, mode="trilinear", align_corners=False)

    resized = torch.cat([resize(mask[:, :, :1]), *([resize(mask[:, :, 1:])] if mask.shape[2] > 1 else [])], 2)
    return resized[0].permute(1, 2, 3, 0).numpy()


@pytest.mark.parametrize(
    ("frames", "known", "want"),
    [
        (9, [0], [[1, 0, 0]] * 4),
        (17, range(8), [[1, 1, 1, 0, 0]] * 3 + [[1, 1, 0, 0, 0]]),
        (9, [0, 8], [[1, 0, 0]] * 3 + [[1, 0, 1]]),
        (1, [0], [[1]] * 4),
        (9, [], [[0, 0, 0]] * 4),
    ],
)
def test_frames_that_are_known(frames, known, want):
    task = tasks.known_frames(frames, H, W, {place: VIDEO[place] for place in known})
    channels = tasks.mask_channels(task.known, 8)
    assert channels.shape == ((frames + 3) // 4, H // 8, W // 8, 4)
    np.testing.assert_array_equal(channels, np.broadcast_to(np.float32(want).T[:, None, None], channels.shape))
    np.testing.assert_array_equal(task.frames[list(known)], VIDEO[list(known)])


@pytest.mark.parametrize("frames", [1, 9])
def test_a_region_is_interpolated_as_in_the_original(frames):
    known = RNG.random((frames, H, W)) < 0.5
    got = tasks.mask_channels(known, 8)
    assert set(np.unique(got)) > {0.25, 0.5, 0.75}
    np.testing.assert_allclose(got, original_mask(known, 8), atol=1e-6)


def test_a_straight_edge_between_the_middle_pixels_is_a_half():
    for edge, value in ((11, 0), (12, 0.5), (13, 1)):
        known = np.zeros((1, H, W), bool)
        known[:, :edge] = True
        np.testing.assert_array_equal(tasks.mask_channels(known, 8)[0, :, 0, 0], [1, value])


@pytest.fixture(scope="module")
def vae():
    return component(WanVAE, VAE)


@pytest.mark.slow
def test_what_is_not_known_is_grey(vae, quick_compilation):
    """And what lies there does not matter."""
    region = np.zeros((5, 8, 12), bool)
    region[2, 1:6, 2:9] = True
    video = VIDEO[:5, :8, :12]
    pixels = np.where(region[..., None], np.float32(0), video.astype(np.float32) / 127.5 - 1)
    encode = jax.jit(lambda params, x: functional.bind(WanVAE, VAE, params).encode(x))
    want = np.asarray(encode(vae.params, pixels[None]))[0]
    for frames in (video, np.where(region[..., None], 255 - video, video)):
        got = tasks.known_channels(tasks.replacement(frames, region), vae)
        assert got.shape == (2, 2, 3, 8)
        np.testing.assert_array_equal(got[..., :4], tasks.mask_channels(~region, 4))
        assert relative_error(got[..., 4:], want) < 1e-5


def test_nothing_known_is_zeros_and_not_the_latent_of_grey(vae):
    assert not tasks.known_channels(tasks.known_frames(5, 8, 12), vae).any()


def test_parts_of_a_longer_task():
    task = tasks.known_frames(10, H, W, {0: VIDEO[0], 9: VIDEO[9]})
    part = task.cut(4, 9).starting_with(VIDEO[2:5])
    assert np.flatnonzero(part.known.all((1, 2))).tolist() == [0, 1, 2, 5]
    assert part.known.any((1, 2)).sum() == 4
    np.testing.assert_array_equal(part.frames[[0, 1, 2, 5]], VIDEO[[2, 3, 4, 9]])
    assert np.flatnonzero(task.known.any((1, 2))).tolist() == [0, 9], "the whole has changed"


@pytest.mark.parametrize(
    ("box", "size", "new_size", "rows", "columns"),
    [
        ((454, 664, 278, 423), (1138, 640), (1024, 560), (25, 36), (15, 23)),
        ((38, 422, 172, 543), (1264, 720), (1008, 576), (1, 21), (8, 27)),
    ],
)
def test_faces_of_the_published_examples(box, size, new_size, rows, columns):
    tokens = tasks.face_tokens(box, size, new_size, 16).reshape(new_size[0] // 16, new_size[1] // 16)
    want = np.zeros_like(tokens)
    want[slice(*rows), slice(*columns)] = 1
    np.testing.assert_array_equal(tokens, want)


def test_boxes_follow_the_video_to_its_size():
    region = tasks.region_of_boxes([(0, 10, 5, 20), (19, 20, 0, 1)], (20, 40), (10, 10))
    want = np.zeros((2, 10, 10), bool)
    want[0, :5, 1:5] = True
    want[1, 9, 0] = True
    np.testing.assert_array_equal(region, want)


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda: tasks.known_frames(5, H, W, {0: VIDEO[0, :8]}), "Frame 0 is 24x8 pixels; the video is 24x16 pixels"),
        (lambda: tasks.known_frames(5, H, W, {5: VIDEO[0]}), "Frame 5 .* of 5 frames"),
        (lambda: tasks.known_frames(5, H, W).starting_with(VIDEO[:2, :8]), "A frame is 24x8 pixels"),
        (
            lambda: tasks.replacement(VIDEO, np.ones((17, H, H), bool)),
            "is 16x16 pixels in 17 frames; the video is 24x16",
        ),
        (lambda: tasks.replacement(VIDEO, np.ones((9, H, W), bool)), "in 9 frames; the video is .* in 17"),
        (lambda: tasks.replacement(VIDEO, np.zeros((17, H, W), bool)), "is empty"),
        (lambda: tasks.region_of_boxes([(0, 5, 0, 5), (5, 5, 0, 5)], (H, W), (H, W)), r"frame 1 is \(5, 5, 0, 5\)"),
        (lambda: tasks.face_tokens((0, 17, 0, 5), (H, W), (H, W), 2), "within 16 rows and 24 columns"),
        (lambda: tasks.face_tokens((1, 2, 3), (H, W), (H, W), 2), r"The face is \(1, 2, 3\); accepted is \(top"),
        (lambda: tasks.face_tokens("chin", (H, W), (H, W), 2), "The face is 'chin'; accepted is"),
        (lambda: tasks.face_tokens((0, float("nan"), 0, 5), (H, W), (H, W), 2), "The face is"),
        (lambda: tasks.face_tokens((1, 5, 1, 5), (H, W), (H, W), 8), "covers no token of 8 pixels"),
    ],
)
def test_what_does_not_fit(call, problem):
    with pytest.raises(InputError, match=problem):
        call()


def test_videos_that_cannot_be_coded(vae):
    for shape, problem in (
        ((4, 8, 12), "4 frames cannot be coded"),
        ((5, 5, 12), "12x5 pixels; accepted are multiples"),
    ):
        with pytest.raises(InputError, match=problem):
            tasks.known_channels(tasks.known_frames(*shape), vae)
