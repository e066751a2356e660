"""Portraits in: any picture file to upright 8-bit RGB of a size the model can take; contact sheets out."""

import math
import struct
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont, ImageOps, UnidentifiedImageError

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
            return np.array(_on_white(to_srgb(_to_8_bits(ImageOps.exif_transpose(image), name), name)))
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


def choose_size(height: int, width: int, area: int, multiple: int = 32) -> tuple[int, int]:
    """(height, width) of about `area` pixels, multiples of `multiple`, for a picture's aspect ratio.

    The rule of Wan 2.2 (`wan/utils/utils.py`): round the ideal width down and take the height the area leaves, or
    round the ideal height down and take the width it leaves, whichever distorts the aspect ratio less.
    """

    def floor(side: float) -> int:
        return max(int(side // multiple) * multiple, multiple)

    def distortion(size: tuple[int, int]) -> float:
        ratio = (width / height) / (size[1] / size[0])
        return max(ratio, 1 / ratio)

    ideal_width = math.sqrt(area * width / height)
    by_width = floor(area / floor(ideal_width)), floor(ideal_width)
    by_height = floor(area / ideal_width), floor(area / floor(area / ideal_width))
    return by_width if distortion(by_width) < distortion(by_height) else by_height


def fit_image(image: UInt8[np.ndarray, "H W 3"], height: int, width: int) -> UInt8[np.ndarray, "h w 3"]:
    """Scaled (Lanczos) until it covers [height, width], then cropped to it around its centre."""
    scale = max(height / image.shape[0], width / image.shape[1])
    covering = round(image.shape[1] * scale), round(image.shape[0] * scale)
    scaled = np.array(Image.fromarray(image).resize(covering, Image.Resampling.LANCZOS))
    top, left = (covering[1] - height) // 2, (covering[0] - width) // 2
    return scaled[top : top + height, left : left + width]


def psnr(frames: UInt8[np.ndarray, "*F h w 3"], reference: UInt8[np.ndarray, "*F h w 3"]) -> float:
    """Decibels between two 8-bit pictures or videos; infinite where they are equal."""
    error = np.mean((frames.astype(np.float32) - reference) ** 2, dtype=np.float64)
    return float(10 * np.log10(255**2 / error)) if error else math.inf


def contact_sheet(
    frames: Sequence[UInt8[np.ndarray, "h w 3"]] | UInt8[np.ndarray, "F h w 3"],
    columns: int,
    labels: Sequence[str] | None = None,
) -> UInt8[np.ndarray, "H W 3"]:
    """Frames of one size side by side in rows of `columns`, each with its label, if given, written below it."""
    height, width = frames[0].shape[:2]
    gap, text = 4, 0 if labels is None else 18
    rows = math.ceil(len(frames) / columns)
    size = columns * (width + gap) + gap, rows * (height + text + gap) + gap
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for index, frame in enumerate(frames):
        left = gap + index % columns * (width + gap)
        top = gap + index // columns * (height + text + gap)
        sheet.paste(Image.fromarray(frame), (left, top))
        if labels is not None:
            draw.text((left, top + height + 2), labels[index], fill="black", font=font)
    return np.array(sheet)


def _check_size(height: int, width: int, name: str) -> None:
    if min(height, width) < SHORTEST_SIDE:
        raise InputError(f"{name} is {width}x{height} pixels; at least {SHORTEST_SIDE} on each side are needed.")
    if max(height, width) > WIDEST_ASPECT * min(height, width):
        raise InputError(f"{name} is {width}x{height} pixels; one side may be at most {WIDEST_ASPECT} times the other.")


def _to_8_bits(image: Image.Image, name: str) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion would clip it at 255
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise InputError(f"{name} has values from {values.min()} to {values.max()}; 8 and 16 bits are accepted.")
        grey = Image.fromarray(((values.astype(np.int32) + 128) // 257).astype(np.uint8))  # 257: from 65535 to 255
        grey.info = {key: image.info[key] for key in ("icc_profile",) if key in image.info}
        return grey
    if image.mode == "F":
        raise InputError(f"{name} holds floating-point values; 8 and 16 bits are accepted.")
    return image


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return white
