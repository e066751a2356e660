"""Cuts, faces, text, quality and duplicates in pictures that are drawn here."""

import numpy as np
import pytest

from actavatar_jax.media.image import fit_image
from actavatar_jax.media.video import write_video
from data_pipelines.filters import group_copies, read_frames_at
from data_pipelines.filters.copies import IMAGE_DIFFERS
from data_pipelines.filters.dover import MEAN, STD, cut_views, score_with_dover
from data_pipelines.filters.duplicates import measure_prints
from data_pipelines.filters.faces import link_faces, make_faces_step
from data_pipelines.filters.pictures import read_every_nth
from data_pipelines.filters.probe import measure_file
from data_pipelines.filters.quality import MeasureQuality, measure_black_border
from data_pipelines.filters.shots import measure_shots
from data_pipelines.filters.text_area import make_text_area_step, measure_coverage
from data_pipelines.table import Clip
from tests.data import tiny_models

for package in ("cv2", "scenedetect", "onnxruntime", "imagehash"):
    pytest.importorskip(package)

CLIP = Clip("a", "corpus", "a.mp4")
HEIGHT, WIDTH = 192, 256


def scene(seed=0, height=HEIGHT, width=WIDTH):
    """A smooth picture of its own colours."""
    small = np.random.default_rng(seed).integers(20, 230, (6, 8, 3), np.uint8)
    return fit_image(small, height, width)


def video(folder, images, sound=None):
    write_video(folder / "clips" / "a.mp4", images, sound)
    return folder


def speech(seed=0, seconds=2):
    rng = np.random.default_rng(seed)
    envelope = np.repeat(rng.uniform(0, 1, seconds * 10), 1600)
    noise = np.convolve(rng.standard_normal(seconds * 16000), rng.standard_normal(20), "same")
    return (0.02 * envelope * noise).astype(np.float32)


# ---- shots


@pytest.mark.parametrize("cut", [8, 25, 45])
def test_a_cut_is_found_wherever_it_is_and_the_longest_shot_keeps_clear_of_it(cut, tmp_path):
    row = measure_shots(CLIP, video(tmp_path, [scene(1)] * cut + [scene(2)] * (50 - cut)))
    assert row["cuts"] == 1 and row["cut_times"] == pytest.approx([cut / 25])
    expected = (0, cut / 25 - 0.16) if cut >= 25 else (cut / 25 + 0.16, 2.0)
    assert (row["longest_start"], row["longest_end"]) == pytest.approx(expected)
    assert row["longest_seconds"] == pytest.approx(expected[1] - expected[0])


def test_movement_is_no_cut(tmp_path):
    wide = scene(width=WIDTH + 100)
    row = measure_shots(CLIP, video(tmp_path, [wide[:, 2 * i :][:, :WIDTH] for i in range(50)]))
    assert row["cuts"] == 0 and (row["longest_start"], row["longest_end"]) == (0, 2)


# ---- faces


def portraits(*centres, frames=25):
    """Red squares that the tiny detector takes for faces; centres: one (x, y) or None per frame and square."""
    for index in range(frames):
        image = np.full((320, 480, 3), 60, np.uint8)
        for path in centres:
            if path(index):
                x, y = path(index)
                image[y - 32 : y + 32, x - 32 : x + 32] = 250, 20, 20
        yield image


@pytest.fixture(scope="module")
def see(tmp_path_factory):
    return make_faces_step(tiny_models.all_models(tmp_path_factory.mktemp("models"))).measure


def test_one_moving_face_is_one_track(see, tmp_path):
    row = see(CLIP, video(tmp_path, portraits(lambda i: (128 + 2 * i, 160))))
    assert (row["tracks"], row["coverage"], row["others"]) == (1, 1.0, 0.0)
    assert row["height_px"] == pytest.approx(tiny_models.FACE, rel=0.02)
    assert row["height"] == pytest.approx(tiny_models.FACE / 320, rel=0.02)
    left, top, width, height = row["box"]
    assert left + width / 2 == pytest.approx(152 / 480, abs=0.05) and top + height / 2 == pytest.approx(0.5, abs=0.06)


def test_a_face_that_comes_late_covers_less_and_a_second_one_counts(see, tmp_path):
    row = see(CLIP, video(tmp_path, portraits(lambda i: (96, 96) if i >= 15 else None, lambda i: (352, 224))))
    assert row["tracks"] == 2
    assert (row["coverage"], row["others"]) == (1.0, pytest.approx(0.4))


def test_no_face_is_no_failure(see, tmp_path):
    row = see(CLIP, video(tmp_path, portraits(lambda i: None)))
    nobody = {"available": True, "tracks": 0, "coverage": 0.0, "others": 0.0, "samples": 5, "boxes": []}
    assert row == nobody


def test_large_pictures_are_shrunk_and_boxes_brought_back(see, tmp_path):
    images = [fit_image(image, 640, 960) for image in portraits(lambda i: (160, 160), frames=10)]
    row = see(CLIP, video(tmp_path, images))
    assert row["tracks"] == 1 and row["height_px"] == pytest.approx(tiny_models.FACE * 1.5, rel=0.02)


def test_a_face_lost_for_too_long_is_another_one():
    box = np.array([[10.0, 10, 50, 50]])
    nobody = np.zeros((0, 4))
    assert len(link_faces([box, *[nobody] * 4, box])) == 1
    assert len(link_faces([box, *[nobody] * 5, box])) == 2
    assert len(link_faces([box, box + np.array([60, 0, 0, 0])])) == 2


def test_two_faces_keep_their_tracks_though_the_detector_swaps_them():
    left, right = np.array([10.0, 10, 50, 50]), np.array([40.0, 10, 50, 50])
    tracks = link_faces([np.array([left, right]), np.array([right + 5, left + 5])])
    assert [track[1][0] for track in tracks] == [15, 45]


# ---- text


def test_text_is_measured_where_it_is_most(tmp_path):
    step = make_text_area_step(tiny_models.all_models(tmp_path / "models"))
    images = np.full((50, 320, 640, 3), 40, np.uint8)
    images[40:, 280:300, 100:500] = 255
    row = step.measure(CLIP, video(tmp_path, images))
    core, border = 20 * 400, 1.6 * 20 * 400 / 420
    assert row["area"] == pytest.approx((20 + border) * (400 + border) / (320 * 640), rel=0.1)
    assert row["area"] > core / (320 * 640)


def test_faint_specks_are_no_text():
    probability = np.zeros((100, 100), np.float32)
    probability[10:20, 10:60] = 0.4
    assert measure_coverage(probability) == 0
    probability[10:20, 10:60] = 0.9
    assert measure_coverage(probability) > 0.05


# ---- quality


def test_blur_dark_pictures_and_borders_show(tmp_path):
    sharp = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    blurred = fit_image(sharp[:24, :32], HEIGHT, WIDTH)
    boxed = sharp.copy()
    boxed[:24] = boxed[-24:] = 0
    rows = {
        name: MeasureQuality(None)(CLIP, video(tmp_path / name, [image] * 13))
        for name, image in {"sharp": sharp, "blurred": blurred, "dark": sharp // 8, "boxed": boxed}.items()
    }
    assert rows["sharp"]["sharpness"] > 10 * rows["blurred"]["sharpness"]
    assert rows["dark"]["luminance_mean"] < 20 < 100 < rows["sharp"]["luminance_mean"]
    assert rows["boxed"]["black_border"] == pytest.approx(0.25, abs=0.02)
    assert rows["sharp"]["black_border"] == 0


def test_sharpness_does_not_depend_on_the_size_of_the_picture(tmp_path):
    small = fit_image(np.random.default_rng(0).integers(0, 255, (192, 256, 3), np.uint8), 480, 640)
    large = fit_image(small, 960, 1280)
    rows = [MeasureQuality(None)(CLIP, video(tmp_path / str(i), [image])) for i, image in enumerate((small, large))]
    assert rows[1]["sharpness"] == pytest.approx(rows[0]["sharpness"], rel=0.4)  # at its own size it is a seventh


def test_a_black_picture_is_all_border():
    assert measure_black_border(np.zeros((10, 20), np.uint8)) == 1


def test_dovers_views_have_their_frames_and_pixels(tmp_path):
    images = np.zeros((96, 448, 448, 3), np.uint8) + np.arange(96, dtype=np.uint8)[:, None, None, None] * 2
    images[:, :224] += 40
    seen, looked_at = cut_views(video(tmp_path, images) / "clips" / "a.mp4", 3)
    assert seen.shape == (1, 3, 32, 224, 224) and looked_at.shape == (3, 3, 32, 224, 224)
    grey = seen[0, 0, :, 200, 100] * STD[0] + MEAN[0]
    assert grey == pytest.approx(2 * (np.arange(32) * 3 + 1), abs=4)
    grey = looked_at[:, 0, :, 200, 100] * STD[0] + MEAN[0]
    frames = (np.arange(3)[:, None] * 32 + 2 * np.arange(32)) % 96
    assert grey == pytest.approx(2 * frames, abs=4)
    upper = looked_at[0, 0, 0, :, 0] * STD[0] + MEAN[0]
    assert (upper[:96] > 30).all() and (upper[128:] < 10).all()  # rows 0-2 of patches lie in the bright half, 4-6 below


def test_dovers_scores_are_fused_as_it_does(tmp_path):
    model = tiny_models.quality(tmp_path / "quality.onnx")
    grey = np.full((40, 256, 256, 3), 118, np.uint8)
    clip = video(tmp_path, grey) / "clips" / "a.mp4"
    scores, view = score_with_dover(clip, model), float(cut_views(clip, 1)[0].mean())
    technical, aesthetic = (view - 0.1107) / 0.07355, (view + 0.08285) / 0.03774
    expected = {"technical": technical, "aesthetic": aesthetic, "score": 0.6104 * technical + 0.3896 * aesthetic}
    assert scores == pytest.approx(
        {k: 1 / (1 + np.exp(-v)) for k, v in expected.items()}, abs=0.02
    )  # sums of millions of float32


# ---- duplicates


def prints(folder, images, sound):
    row = measure_prints(CLIP, video(folder, images, sound))
    return row["picture"], row["sound"]


def test_a_copy_is_found_through_another_size_and_codec_and_strangers_are_not(tmp_path):
    original = prints(tmp_path / "1", [scene()] * 50, speech())
    smaller = [fit_image(scene(), HEIGHT // 2, WIDTH // 2)] * 50
    rows = [
        original,
        prints(tmp_path / "2", smaller, 0.5 * speech()),
        prints(tmp_path / "3", [scene()] * 50, speech(7)),  # the same studio, other words
        prints(tmp_path / "4", [scene(7)] * 50, speech()),  # the same sound under other pictures
    ]
    one, two, three, four = group_copies(*zip(*rows, strict=True))
    assert one == two and len({one, three, four}) == 3


def test_groups_are_the_same_as_by_comparing_all_pairs():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, 8), np.uint8)
    images[30:] = images[:30]
    for row in range(30, 60):
        for bit in rng.choice(64, rng.integers(0, 8), replace=False):
            images[row, bit // 8] ^= 1 << (bit % 8)
    sounds = np.tile(rng.integers(0, 256, 30, np.uint8), (60, 1))
    found = group_copies([row.tobytes().hex() for row in images], [row.tobytes().hex() for row in sounds])
    near = np.bitwise_count(images[:, None] ^ images[None]).sum(-1) <= IMAGE_DIFFERS
    assert near[:30, 30:].diagonal().any() and not near[:30, 30:].diagonal().all()
    assert (np.equal.outer(found, found) == near).all()


def test_clips_without_prints_are_alone():
    assert len(set(group_copies([None, "0" * 16, None], ["0" * 60, None, None]))) == 3
    assert group_copies([], []) == []
    assert len(set(group_copies(["0" * 16] * 2, ["0" * 60] * 2))) == 1


# ---- probe and frames


def test_probe_tells_what_the_file_is_and_how_loud(tmp_path):
    tone = (0.5 * np.sin(np.arange(32000) / 5)).astype(np.float32)
    row = measure_file(CLIP, video(tmp_path, [scene()] * 50, tone))
    assert (row["frames"], row["short_side"], row["height"], row["width"]) == (50, HEIGHT, HEIGHT, WIDTH)
    assert row["has_audio"] and row["codec"] == "h264" and row["fps"] == 25
    assert row["loudness"] == pytest.approx(-9, abs=0.5) and row["clipped"] == 0
    assert 0 < row["bits_per_pixel"] < 1


def test_frames_are_taken_at_fractions_of_the_length(tmp_path):
    images = np.zeros((50, 64, 64, 3), np.uint8) + np.arange(50, dtype=np.uint8)[:, None, None, None] * 4
    path = video(tmp_path, images) / "clips" / "a.mp4"
    assert [frame.mean() / 4 for frame in read_frames_at(path, [0.1, 0.5, 0.9])] == pytest.approx([5, 25, 45], abs=1)
    assert len(list(read_every_nth(path, 12))) == 5
