"""Pictures of a video that is still being sampled."""

from pathlib import Path

import jax
import numpy as np
from PIL import Image

from actavatar_jax.diffusion import Step
from actavatar_jax.encoders import Encoders
from actavatar_jax.errors import InputError
from actavatar_jax.media.image import contact_sheet
from actavatar_jax.parallel import agreed, to_host
from actavatar_jax.storage import replaced_file


def save_preview(path: Path, encoders: Encoders, step: Step) -> None:
    """Writes the portrait, a frame from the middle and one from the end as they look after `step`, side by side.

    Their latent frames are decoded as if they were a clip of three, so that it takes the time of nine frames, whatever
    the length of the video; what moves may smear more than in the video. Every process calls this, the first one
    writes. Raises InputError where `path` cannot be written.
    """
    latents = to_host(step.data)[0]
    with agreed():
        if jax.process_index() == 0:
            frames = encoders.decode(latents[[0, len(latents) // 2, -1]])
            _write(path, contact_sheet(frames[[0, 3, 7]], columns=3))


def _write(path: Path, picture: np.ndarray) -> None:
    try:
        with replaced_file(path) as partial:
            Image.fromarray(picture).save(partial, format="png")
    except OSError as error:
        raise InputError(f"The preview {path} cannot be written: {error}") from error
