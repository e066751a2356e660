"""Colour profiles of pictures: what a colour-managed viewer shows is what the model sees."""

import io
import logging
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from actavatar_jax.media import load_image
from actavatar_jax.media.notes import warn_once

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
COLOUR = 200, 60, 40
DISPLAY_P3 = {  # colorants of SMPTE EG 432-1 with the white of ICC profiles
    "rXYZ": (0.51512, 0.24120, -0.00105),
    "gXYZ": (0.29198, 0.69225, 0.04189),
    "bXYZ": (0.15710, 0.06657, 0.78407),
}


@pytest.fixture(autouse=True)
def said(caplog):
    warn_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        yield caplog


def display_p3():
    """sRGB's own profile with the colorants of Display P3."""
    profile = bytearray(SRGB.tobytes())
    for entry in range(struct.unpack(">I", profile[128:132])[0]):
        name, offset, _ = struct.unpack(">4sII", profile[132 + 12 * entry : 144 + 12 * entry])
        if name.decode() in DISPLAY_P3:
            numbers = [struct.pack(">i", round(value * 65536)) for value in DISPLAY_P3[name.decode()]]
            profile[offset + 8 : offset + 20] = b"".join(numbers)
    return bytes(profile)


def grey_profile(gamma):
    """A minimal profile (ICC.1) of a grey whose light is its value to the power of gamma."""
    curve = b"curv" + bytes(4) + struct.pack(">IHH", 1, round(gamma * 256), 0)
    white = b"XYZ " + bytes(4) + b"".join(struct.pack(">i", round(v * 65536)) for v in (0.9642, 1.0, 0.8249))
    tags, content, offset = b"", b"", 128 + 4 + 12 * 2
    for name, value in ((b"kTRC", curve), (b"wtpt", white)):
        tags += struct.pack(">4sII", name, offset + len(content), len(value))
        content += value
    size = offset + len(content)
    head = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x02400000, b"mntr", b"GRAY", b"XYZ ")
    head += struct.pack(">6H4s", 2020, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + white[8:]
    return head + bytes(128 - len(head)) + struct.pack(">I", 2) + tags + content


def p3_to_srgb(colour):
    """By the definition: linear light, the standard's matrix from Display P3 to sRGB, sRGB's curve."""
    x = np.array(colour) / 255
    light = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    matrix = [[1.22494, -0.22494, 0], [-0.04206, 1.04206, 0], [-0.01964, -0.07864, 1.09828]]
    light = np.clip(np.array(matrix) @ light, 0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def load(image, path, **options):
    image.save(path, **options)
    return load_image(path)


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.tiff", "x.webp"])
def test_display_p3_becomes_srgb(tmp_path, name):
    options = {"quality": 98} if name == "x.jpg" else {"lossless": True} if name == "x.webp" else {}
    loaded = load(Image.new("RGB", (96, 96), COLOUR), tmp_path / name, icc_profile=display_p3(), **options)
    np.testing.assert_allclose(loaded[48, 48], p3_to_srgb(COLOUR), atol=1.6)
    assert np.abs(p3_to_srgb(COLOUR) - COLOUR).max() > 8  # which would be seen


def test_srgb_and_no_profile_change_nothing(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(load(Image.fromarray(pixels), tmp_path / "x.png"), pixels)
    loaded = load(Image.fromarray(pixels), tmp_path / "y.png", icc_profile=SRGB.tobytes())
    assert np.abs(loaded.astype(int) - pixels).max() <= 1


def test_what_is_transparent_stays_so(tmp_path):
    rgba = Image.new("RGBA", (64, 64), (*COLOUR, 255))
    rgba.paste((0, 0, 0, 0), (0, 0, 64, 32))
    keyed = Image.new("RGB", (64, 64), COLOUR)
    keyed.paste((1, 2, 3), (0, 0, 64, 32))
    palette = keyed.quantize(2)
    for name, image, options in (
        ("a.png", rgba, {}),
        ("b.png", keyed, {"transparency": (1, 2, 3)}),
        ("c.png", palette, {"transparency": palette.getpixel((0, 0))}),
    ):
        loaded = load(image, tmp_path / name, icc_profile=display_p3(), **options)
        assert (loaded[:32] == 255).all(), name
        np.testing.assert_allclose(loaded[48, 48], p3_to_srgb(COLOUR), atol=2, err_msg=name)


def test_grey_with_a_curve(tmp_path):
    loaded = load(Image.new("L", (64, 64), 128), tmp_path / "x.png", icc_profile=grey_profile(1.0))
    expected = 255 * (1.055 * (128 / 255) ** (1 / 2.4) - 0.055)  # half of the light
    np.testing.assert_allclose(loaded[32, 32], expected, atol=2)


def test_turned_pictures_keep_their_profile(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    loaded = load(Image.new("RGB", (64, 96), COLOUR), tmp_path / "x.png", icc_profile=display_p3(), exif=exif)
    assert loaded.shape == (64, 96, 3)
    np.testing.assert_allclose(loaded[48, 48], p3_to_srgb(COLOUR), atol=1.6)


@pytest.mark.parametrize("kind", ["garbage", "cut", "of another kind", "damaged"])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "RGBA"])
def test_profiles_that_cannot_be_applied_are_said(tmp_path, said, kind, mode):
    good = display_p3()
    damaged = bytearray(good)
    damaged[128:400] = np.random.default_rng(1).integers(0, 256, 272, dtype=np.uint8).tobytes()
    foreign = good if mode in ("L", "CMYK") else grey_profile(2.2)
    profile = {"garbage": b"no profile", "cut": good[:150], "of another kind": foreign, "damaged": bytes(damaged)}[kind]
    colour = {"RGB": COLOUR, "L": 77, "CMYK": (10, 20, 30, 40), "RGBA": (*COLOUR, 255)}[mode]
    image = Image.new(mode, (64, 64), colour)
    name = "x.tiff" if mode == "CMYK" else "x.png"
    plain = load(image, tmp_path / f"plain_{name}")
    np.testing.assert_array_equal(load(image, tmp_path / name, icc_profile=profile), plain)
    assert len(said.messages) == 1 and "its colour profile cannot be applied" in said.messages[0]


def test_a_pillow_image_is_as_its_file(tmp_path):
    Image.new("RGB", (64, 64), COLOUR).save(tmp_path / "x.png", icc_profile=display_p3())
    buffer = io.BytesIO((tmp_path / "x.png").read_bytes())
    np.testing.assert_array_equal(load_image(Image.open(buffer)), load_image(tmp_path / "x.png"))
