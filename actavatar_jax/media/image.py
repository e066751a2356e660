"""Portraits in: any picture file to upright 8-bit RGB of a size the model can take; contact sheets out."""

import math
import struct
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont, ImageOps

from actavatar_jax.errors import InputError

SHORTEST_SIDE = 32
WIDEST_ASPECT = 4


def load_image(source: str | Path | Image.Image | np.ndarray) -> UInt8[np.ndarray, "H W 3"]:
    """Upright 8-bit RGB pixels of a picture file, a Pillow image or a uint8 array [H, W, 3].

    EXIF rotation is applied, 16-bit values are scaled to 8 bits, and transparency is laid on white, as a cut-out
    portrait is shown on a page. Refused with an InputError: a missing, damaged or unknown file, a side below 32
    pixels, a long side over four times the short one, and more pixels than Pillow's limit.
    """
    name = f"Image {source}" if isinstance(source, str | Path) else "The image"
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3:
            shape = ", ".join(map(str, source.shape))
            raise InputError(f"{name} is a {source.dtype} array [{shape}]; accepted is uint8 [height, width, 3].")
        _check_size(source.shape[0], source.shape[1], name)
        return source.copy()
    if isinstance(source, str | Path) and not Path(source).is_file():
        raise InputError(f"{name}: there is no such file.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # decoders remark on oddities that do no harm
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = source if isinstance(source, Image.Image) else Image.open(source)
            _check_size(image.height, image.width, name)
            image.load()
            return np.array(_to_rgb(ImageOps.exif_transpose(image), name))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{name} has more than the {Image.MAX_IMAGE_PIXELS:,} pixels accepted.") from error
    except InputError:
        raise
    # Pillow's decoders raise all of these for damaged files.
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        reason = "unknown format" if "cannot identify" in reason else reason
        raise InputError(
            f"{name} is damaged or not a picture ({reason}); accepted is what Pillow reads, such as PNG, JPEG, WebP."
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


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion would clip it at 255
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise InputError(f"{name} has values from {values.min()} to {values.max()}; 8 and 16 bits are accepted.")
        image = Image.fromarray(np.round(values / 257).astype(np.uint8))
    elif image.mode == "F":
        raise InputError(f"{name} holds floating-point values; 8 and 16 bits are accepted.")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")
