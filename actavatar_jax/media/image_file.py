"""Portraits in: any picture file to upright 8-bit sRGB."""

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from actavatar_jax.errors import InputError
from actavatar_jax.media.formats import PICTURES, check_file
from actavatar_jax.media.profiles import to_srgb
from actavatar_jax.storage import cut, named

SHORTEST_SIDE = 32
WIDEST_ASPECT = 4

# Pillow's decoders raise all of these for damaged files.
_DAMAGE = (
    OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError,
    struct.error, zlib.error,
)  # fmt: skip


def load_image(source: str | Path | Image.Image | np.ndarray) -> UInt8[np.ndarray, "H W 3"]:
    """Upright 8-bit sRGB pixels of a picture file, a Pillow image or a uint8 array [H, W, 3].

    EXIF rotation and the colour profile are applied, 16-bit values are scaled to 8 bits, and transparency is laid on
    white, as a cut-out portrait is shown on a page. A profile that cannot be applied is logged, and the colours are
    taken as sRGB. Refused with an InputError: a missing, damaged or unknown file, a side below 32 pixels, a long side
    over four times the short one, and more pixels than Pillow's limit.
    """
    name = f"Image {named(source)}" if isinstance(source, str | Path) else "The image"
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3:
            shape = ", ".join(map(str, source.shape))
            raise InputError(f"{name} is a {source.dtype} array [{shape}]; accepted is uint8 [height, width, 3].")
        _check_size(source.shape[0], source.shape[1], name)
        return source.copy()
    if isinstance(source, str | Path):
        check_file(Path(source), name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # decoders remark on oddities that do no harm
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = source if isinstance(source, Image.Image) else Image.open(source, formats=PICTURES)
            _check_size(image.height, image.width, name)
            image.load()
            # One name only, so that of a large picture no more is held than has to be.
            image = image.copy() if image is source else image
            ImageOps.exif_transpose(image, in_place=True)
            image = _to_8_bits(image, name)
            image = to_srgb(image, name)
            image = _on_white(image)
            return _pixels(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{name} has more than the {Image.MAX_IMAGE_PIXELS:,} pixels accepted.") from error
    except InputError:
        raise
    except _DAMAGE as error:
        reason = cut(str(error) or type(error).__name__, 60)
        reason = "unknown format" if isinstance(error, UnidentifiedImageError) else reason
        raise InputError(
            f"{name} is damaged or not a picture ({reason}); accepted are {', '.join(PICTURES)} files."
        ) from error


def _check_size(height: int, width: int, name: str) -> None:
    if min(height, width) < SHORTEST_SIDE:
        raise InputError(f"{name} is {width}x{height} pixels; at least {SHORTEST_SIDE} on each side are needed.")
    if max(height, width) > WIDEST_ASPECT * min(height, width):
        raise InputError(f"{name} is {width}x{height} pixels; one side may be at most {WIDEST_ASPECT} times the other.")


def _to_8_bits(image: Image.Image, name: str) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion would clip it at 255
        values = np.array(image, np.int32)
        if values.min() < 0 or values.max() > 65535:
            raise InputError(f"{name} has values from {values.min()} to {values.max()}; 8 and 16 bits are accepted.")
        values += 128
        values //= 257  # from 65535 to 255
        grey = Image.fromarray(values.astype(np.uint8))
        grey.info = {key: image.info[key] for key in ("icc_profile",) if key in image.info}
        return grey
    if image.mode == "F":
        raise InputError(f"{name} holds floating-point values; 8 and 16 bits are accepted.")
    return image


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    image = image if image.mode == "RGBA" else image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return white


def _pixels(image: Image.Image, rows: int = 256) -> UInt8[np.ndarray, "H W 3"]:
    """So many rows after the other: Pillow's own way needs twice the memory on top."""
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, rows):
        pixels[top : top + rows] = image.crop((0, top, image.width, min(top + rows, image.height)))
    return pixels
