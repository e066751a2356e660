"""Parts of what a user says to a model: text, and pictures inside the message."""

import base64
import io
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image


def text_part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def picture_part(pixels: UInt8[np.ndarray, "h w 3"]) -> dict[str, Any]:
    """The picture as a JPEG at its own size."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=85)
    data = base64.b64encode(file.getvalue()).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}}
