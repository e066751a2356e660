"""Portraits in: every kind of picture is loaded right or refused in one sentence."""

import io

import numpy as np
import pytest
from PIL import Image

from actavatar_jax.errors import InputError
from actavatar_jax.media import choose_size, contact_sheet, fit_image, load_image

RED, BLUE = (250, 10, 20), (10, 20, 240)


def picture(height=80, width=120):
    """Red upper half, blue lower half."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[: height // 2], pixels[height // 2 :] = RED, BLUE
    return pixels


def saved(image, path, **options):
    image.save(path, **options)
    return path


def refusal(source):
    with pytest.raises(InputError) as caught:
        load_image(source)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    return text


def test_rgb_from_file_image_and_array(tmp_path):
    path = saved(Image.fromarray(picture()), tmp_path / "rgb.png")
    for source in (path, str(path), Image.open(path), picture()):
        np.testing.assert_array_equal(load_image(source), picture())


def test_transparency_is_laid_on_white(tmp_path):
    rgba = np.dstack([picture(), np.full((80, 120), 255, np.uint8)])
    rgba[:, :40, 3] = 0
    rgba[:, 40:60, 3] = 51
    loaded = load_image(saved(Image.fromarray(rgba), tmp_path / "rgba.png"))
    assert (loaded[:, :40] == 255).all()
    np.testing.assert_allclose(loaded[0, 50], 255 + (np.array(RED) - 255) * 0.2, atol=1)
    np.testing.assert_array_equal(loaded[:, 60:], picture()[:, 60:])


def test_transparent_palette_and_grey_alpha(tmp_path):
    indexed = Image.fromarray(np.repeat(np.arange(2, dtype=np.uint8), 40)[:, None] * np.ones((1, 120), np.uint8), "P")
    indexed.putpalette([*RED, *BLUE])
    np.testing.assert_array_equal(load_image(saved(indexed, tmp_path / "p.png")), picture())
    transparent = load_image(saved(indexed, tmp_path / "pt.png", transparency=0))
    assert (transparent[:40] == 255).all()
    np.testing.assert_array_equal(transparent[40:], picture()[40:])
    grey = Image.merge("LA", [Image.new("L", (120, 80), 100), Image.new("L", (120, 80), 0)])
    assert (load_image(saved(grey, tmp_path / "la.png")) == 255).all()


def test_greyscale_and_black_and_white(tmp_path):
    grey = np.tile(np.arange(120, dtype=np.uint8), (80, 1))
    loaded = load_image(saved(Image.fromarray(grey), tmp_path / "l.png"))
    np.testing.assert_array_equal(loaded, np.repeat(grey[..., None], 3, axis=2))
    assert load_image(Image.new("1", (120, 80), 1)).min() == 255


@pytest.mark.parametrize("name", ["deep.png", "deep.tiff"])
def test_16_bit_is_scaled_not_clipped(tmp_path, name):
    values = np.linspace(0, 65535, 120).astype(np.uint16) * np.ones((80, 1), np.uint16)
    loaded = load_image(saved(Image.fromarray(values), tmp_path / name))
    np.testing.assert_array_equal(loaded[..., 0], np.round(values / 257))
    wide = Image.fromarray(values.astype(np.int32))
    assert wide.mode == "I"
    np.testing.assert_array_equal(load_image(wide), loaded)


def test_values_beyond_16_bits_and_floats_are_refused():
    assert "70000" in refusal(Image.fromarray(np.full((80, 80), 70_000, np.int32)))
    assert "floating-point" in refusal(Image.fromarray(np.zeros((80, 80), np.float32)))


def test_cmyk(tmp_path):
    loaded = load_image(saved(Image.fromarray(picture()).convert("CMYK"), tmp_path / "cmyk.jpg", quality=95))
    assert np.abs(loaded[::79].astype(int) - picture()[::79]).max() < 12


@pytest.mark.parametrize(("orientation", "where"), [(3, "below"), (6, "right"), (8, "left")])
def test_exif_rotation(tmp_path, orientation, where):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(Image.fromarray(picture()), tmp_path / "turned.jpg", exif=exif, quality=95)
    loaded = load_image(path).astype(int)
    assert loaded.shape == ((80, 120, 3) if orientation == 3 else (120, 80, 3))
    red = loaded[..., 0] > 128
    expected = {"below": red[45:].all(), "right": red[:, 45:].all(), "left": red[:, :35].all()}
    assert expected[where]
    assert 0.4 < red.mean() < 0.6


def test_sizes_refused(tmp_path):
    assert "8x8" in refusal(saved(Image.new("RGB", (8, 8)), tmp_path / "small.png"))
    assert "20000x50" in refusal(saved(Image.new("RGB", (20_000, 50)), tmp_path / "long.png"))
    assert "4 times" in refusal(Image.new("RGB", (257, 64)))
    assert load_image(Image.new("RGB", (256, 64))).shape == (64, 256, 3)


def test_pixel_limit(tmp_path, monkeypatch):
    path = saved(Image.new("RGB", (200, 200)), tmp_path / "bomb.png")
    for limit in (30_000, 10_000):  # Pillow warns above its limit and raises above twice that
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        assert f"{limit:,}" in refusal(path)


def test_not_a_picture(tmp_path):
    text = tmp_path / "portrait.png"
    text.write_text("a portrait of a woman\n" * 40)
    assert "unknown format" in refusal(text)
    assert "no such file" in refusal(tmp_path / "missing.png")
    text.write_bytes(b"")
    refusal(text)
    assert "float64 array [80, 120, 3]" in refusal(np.zeros((80, 120, 3)))
    assert "[80, 120]" in refusal(np.zeros((80, 120), np.uint8))


@pytest.mark.parametrize("form", ["png", "jpeg", "webp", "gif", "tiff", "bmp"])
def test_cut_and_damaged_files_never_end_in_another_error(tmp_path, form):
    rng = np.random.default_rng(0)
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)).save(buffer, form)
    whole, path, refused = buffer.getvalue(), tmp_path / f"x.{form}", 0
    for attempt in range(40):
        data = bytearray(whole[: len(whole) * attempt // 40])
        if attempt % 2:
            data = bytearray(whole)
            for place in rng.integers(0, min(len(data), 400), 8):
                data[place] = rng.integers(256)
        path.write_bytes(data)
        try:
            assert load_image(path).dtype == np.uint8
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused >= 10
    path.write_bytes(whole[: len(whole) // 2])
    if form != "gif":  # whose decoder shows what is there
        refusal(path)


@pytest.mark.parametrize(
    ("width", "height", "chosen"),
    [
        (1280, 720, (1248, 704)),
        (1920, 1080, (1248, 704)),
        (720, 1280, (704, 1248)),
        (1024, 1024, (960, 928)),
        (1200, 896, (1088, 800)),
    ],
)
def test_choose_size_as_the_original(width, height, chosen):
    assert choose_size(height, width, 704 * 1280) == (chosen[1], chosen[0])


def test_choose_size_never_reaches_zero():
    assert choose_size(64, 256, 32 * 32) == (32, 64)
    assert choose_size(100, 100, 128 * 128, multiple=16) == (128, 128)


def test_fit_covers_and_crops_the_middle():
    wide = np.zeros((100, 300, 3), np.uint8)
    wide[:, 100:200] = RED
    fitted = fit_image(wide, 64, 64)
    assert fitted.shape == (64, 64, 3)
    assert np.abs(fitted.astype(int) - RED)[:, 2:-2].max() <= 2
    np.testing.assert_array_equal(fit_image(wide, 100, 300), wide)


def test_fit_crop_offset_is_rounded_down():
    ramp = np.repeat(np.arange(103, dtype=np.uint8)[None], 100, 0)[..., None].repeat(3, 2)
    np.testing.assert_array_equal(fit_image(ramp, 100, 100), ramp[:, 1:101])


def test_contact_sheet():
    frames = np.stack([np.full((40, 60, 3), value, np.uint8) for value in (10, 60, 120)])
    sheet = contact_sheet(frames, columns=2)
    assert sheet.shape == (4 + 2 * 44, 4 + 2 * 64, 3)
    assert [sheet[20, 20, 0], sheet[20, 90, 0], sheet[60, 20, 0], sheet[60, 90, 0]] == [10, 60, 120, 255]
    labelled = contact_sheet(list(frames), columns=3, labels=["0.0 s", "0.5 s", "1.0 s"])
    assert (labelled[45:62] < 128).any()


def test_real_portraits(media):
    paths = sorted((media / "images").iterdir())
    assert paths
    for path in paths:
        loaded = load_image(path)
        height, width = choose_size(*loaded.shape[:2], 704 * 1280)
        assert fit_image(loaded, height, width).shape == (height, width, 3)
        assert loaded.std() > 10
