"""Pictures, speech and text as EchoMimicV3 takes them, and what its frozen encoders make of them.

h w pixel sides, S text tokens, I picture tokens, D and E widths of encoders, F video frames, n features of speech.
Source: antgroup/echomimic_v3 `infer_preview.py`, `infer_flash.py`, `src/utils.py`, `src/wan_image_encoder.py`.
"""

import functools
import logging
import math
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Float32, Int32, UInt8
from PIL import Image

from actavatar_jax.checks import typed
from actavatar_jax.encoders.speech import encode_speech
from actavatar_jax.encoders.text import encode_text
from actavatar_jax.errors import InputError
from actavatar_jax.functional import Network
from actavatar_jax.media.clock import SAMPLES_PER_FRAME
from actavatar_jax.models import standardise
from actavatar_jax.prompt import StructuredPrompt
from actavatar_jax.prompt.reading import file_named
from actavatar_jax.prompt.tokens import Tokenizer
from actavatar_jax.weights import Component

log = logging.getLogger(__name__)

AREA = 768**2  # pixels
MULTIPLE = 16  # of pixels, in both sides
RATES = {"preview": 2, "flash": 1}  # features of speech for a frame of video
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def video_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) of the video of a picture: both sides rounded down to multiples of 16, of `AREA` at most.

    Raises:
      InputError: the picture has less than 16 pixels in a side.
    """
    shrink = max(1.0, math.sqrt(height * width / AREA))
    new = tuple(int(side / shrink // MULTIPLE) * MULTIPLE for side in (height, width))
    if not all(new):
        raise InputError(f"The picture is {width}x{height} pixels; it needs at least {MULTIPLE} in each side.")
    return new


def resize(image: UInt8[np.ndarray, "a b 3"], height: int, width: int) -> UInt8[np.ndarray, "h w 3"]:
    """To the size of the video (Lanczos); nothing is cut off, so that the picture may be stretched a little."""
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def clip_pixels(image: UInt8[np.ndarray, "a b 3"], size: int) -> Float32[np.ndarray, "{size} {size} 3"]:
    """A picture as CLIP is shown it: bicubic, whatever its aspect, without antialiasing, and not clamped."""
    pixels = image.astype(np.float32) / 127.5 - 1
    rows, columns = (bicubic(side, size) for side in image.shape[:2])
    shown = np.einsum("ha,abc,wb->hwc", rows, pixels, columns, optimize=True) * 0.5 + 0.5
    return ((shown - CLIP_MEAN) / CLIP_STD).astype(np.float32)


def bicubic(old: int, new: int, a: float = -0.75) -> Float32[np.ndarray, "{new} {old}"]:
    """Weights of old pixels in new ones, as PyTorch's bicubic interpolation has them without aligned corners."""
    places = (np.arange(new) + 0.5) * old / new - 0.5
    taps = np.floor(places).astype(int)[:, None] + np.arange(-1, 3)
    far = np.abs(places[:, None] - taps)
    near = ((a + 2) * far - (a + 3)) * far**2 + 1
    weights = np.where(far <= 1, near, a * (((far - 5) * far + 8) * far - 4))
    matrix = np.zeros((new, old), np.float32)
    np.add.at(matrix, (np.arange(new)[:, None], taps.clip(0, old - 1)), weights)  # beyond an edge it is repeated
    return matrix


def encode_picture(image: UInt8[np.ndarray, "a b 3"] | None, encoder: Component) -> Float32[np.ndarray, "I E"]:
    """CLIP's hidden state of a picture, zeros where there is none."""
    c = encoder.config
    if image is None:
        return np.zeros((c.tokens, c.width), np.float32)
    with encoder.on_device() as params:
        return np.asarray(see_picture(encoder.network, params, clip_pixels(image, c.image_size)))


def read_prompt(prompt: Any, phase_time: str, seconds: float) -> str | StructuredPrompt:
    """A text as it is, or where there are windows and they are heeded, a prompt with phases in `seconds`.

    Raises:
      InputError: a prompt that is none, or phases that do not fit.
    """
    if phase_time == "none":
        return typed("prompt", prompt, str)
    structured = StructuredPrompt.coerce(prompt, seconds)
    if structured.phases:
        return StructuredPrompt.for_clip(prompt, seconds)
    return prompt if isinstance(prompt, str) and file_named(prompt) is None else structured.base


def encode_prompt(
    prompt: str | StructuredPrompt, tokenizer: Tokenizer, encoder: Component, length: int
) -> tuple[Float32[np.ndarray, "S D"], Int32[np.ndarray, " S"]]:
    """Features of a text, without any cleaning, or of base and actions without their windows, and the phase of each (0:
    the base); exact zeros beyond its end.

    What is longer than `length` tokens is cut, of a prompt with phases at the end of its base, which is logged.
    """
    if isinstance(prompt, StructuredPrompt):
        tokens = prompt.tokenise(tokenizer, length, strict=False, anchors=False)
        ids, phases = tokens.ids.tolist(), tokens.phase_ids
    else:
        ids = tokenizer.encode(prompt, add_special_tokens=True)
        if len(ids) > length:
            log.warning("The prompt has %d tokens; those beyond %d are left out.", len(ids), length)
            ids = [*ids[: length - 1], ids[-1]]
        phases = np.zeros(len(ids), np.int32)
    padded, phases = (np.pad(np.asarray(row, np.int32), (0, length - len(ids))) for row in (ids, phases))
    with encoder.on_device() as params:
        return np.asarray(encode_text(encoder.network, params, padded, np.arange(length) < len(ids))), phases


def encode_audio(
    samples: Float[np.ndarray, " samples"], num_frames: int, encoder: Component, variant: str
) -> Float32[np.ndarray, "n *layers E"]:
    """Features of speech, about as many as `RATES` says for each frame.

    preview: two a frame, the last hidden state of all samples; flash: one a frame, those of all layers

    Args:
      samples: 16 kHz mono; `flash` hears exactly `num_frames` frames of it.
    """
    if variant == "flash":
        samples = samples[: num_frames * SAMPLES_PER_FRAME]
        samples = np.pad(samples, (0, num_frames * SAMPLES_PER_FRAME - len(samples)))
    with encoder.on_device() as params:
        if variant == "flash":
            return np.asarray(encode_speech(encoder.network, params, samples, num_frames))
        return np.asarray(encode_whole(encoder.network, params, samples))


def features_of(
    features: Float32[np.ndarray, "n *layers E"], begin: int, num_frames: int, variant: str, more: int = 0
) -> Float32[np.ndarray, "m *layers E"]:
    """Those of `num_frames` frames of the video from frame `begin` on, and so many `more` features.

    The last one is repeated where they end before, which is logged: of a file, the convolutions always leave out one.
    """
    wanted = RATES[variant] * np.arange(begin, begin + num_frames + 1)[[0, -1]] + [0, more]
    places = np.arange(*wanted)
    if (missing := int((places >= len(features)).sum())) > 0:
        log.info("The last %d features of speech are missing and repeat the one before.", missing)
    return features[places.clip(0, len(features) - 1)]


@functools.partial(jax.jit, static_argnames="network")
def see_picture(network: Network, params: Any, pixels: Float[Array, "a a 3"]) -> Float32[Array, "I E"]:
    return network.bind(params)(pixels[None])[0]


@functools.partial(jax.jit, static_argnames="network")
def encode_whole(network: Network, params: Any, samples: Float[Array, " samples"]) -> Float32[Array, "n E"]:
    return network.bind(params)(standardise(samples)[None])[0, :, -1]
