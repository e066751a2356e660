"""What the transformer is told, in every branch of guidance.

B videos, G guidance branches, R = G B rows, S text tokens, D and E widths of text and audio encoder, F video frames.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32, Shaped

from actavatar_jax.encoders import Encoders
from actavatar_jax.errors import InputError
from actavatar_jax.models.avatar import DiTConfig
from actavatar_jax.pipeline.request import Request
from actavatar_jax.prompt import StructuredPrompt
from actavatar_jax.prompt.forms import has_anchors


def encode_conditions(
    encoders: Encoders,
    branches: Sequence[tuple[bool, bool]],
    prompts: Sequence[StructuredPrompt],
    request: Request,
    config: DiTConfig,
) -> tuple[
    Float32[np.ndarray, "R S D"],
    Int32[np.ndarray, "R S"],
    Float32[np.ndarray, "R phases 2"],
    Float32[np.ndarray, "R F layers E"],
]:
    """Text, phase ids, windows and speech, branch-major: the first B rows are branch 0 of all videos.

    `branches` are (use_text, use_audio). InputError where an encoder gives numbers that are not finite.
    """
    texts = [*prompts, StructuredPrompt(base=request.negative_prompt)]
    text, phase_ids = encoders.text(texts, strict=False, anchors=has_anchors(config.phase_time))
    audio = request.speech.encode(encoders, request.num_frames)
    check_finite(text, "The features of the text", "weights of the text encoder")
    check_finite(audio, "The features of the speech", "weights of the audio encoder")
    videos = np.arange(len(prompts))
    rows = np.concatenate([videos if use_text else np.full_like(videos, -1) for use_text, _ in branches])
    windows = np.stack([prompt.windows(config.max_phases) for prompt in prompts] * len(branches))
    heard = np.stack([audio if use_audio else np.zeros_like(audio) for _, use_audio in branches for _ in videos])
    return text[rows], phase_ids[rows], windows, heard


def check_finite(values: Shaped[Any, "..."], name: str, suspect: str) -> None:
    """InputError for a NaN or an infinite number: they would make a black video."""
    if not np.isfinite(values).all():
        raise InputError(f"{name} are not finite numbers; look for damage in the {suspect}, or try dtype float32.")
