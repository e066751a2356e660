"""Pictures to a size the model can take, compared, and side by side."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont


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
