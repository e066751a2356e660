"""Measures how the velocity of a model changes over noise levels: by that, `Sampling.skip` leaves levels out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from actavatar_jax.diffusion import Step, VelocityPath, keep_levels, sigma_grid
from actavatar_jax.errors import InputError
from actavatar_jax.parallel import agreed
from actavatar_jax.pipeline import ActAvatarPipeline
from actavatar_jax.weights import change_defaults

THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4)


def calibrate(
    folder: str | Path,
    image: Any,
    audio: Any,
    prompt: Any,
    *,
    options: dict[str, Any],
    anyway: bool = False,
    watch: Callable[[Step], None] | None = None,
    **loading: Any,
) -> str:
    """Samples latents of one video at every level, and stores the path of their velocity in the model folder.

    Args:
      folder: a model folder, read with the `loading` options.
      image, audio, prompt: a portrait, speech and prompt of the kind that the model will be asked for.
      options: of `Sampling`, in the place of the folder's own.
      anyway: as of a call of the pipeline.
      watch: also called after every step.

    Returns how many steps are left at some thresholds, as text. Raises InputError for a single step, which has no
    path, for a model whose velocity is zero, as that of a fresh one, and for a folder that cannot be written.
    """
    pipeline, path = ActAvatarPipeline.from_pretrained(folder, **loading), VelocityPath()
    s = pipeline.defaults.sampling.changed(**options | {"skip": 0.0})
    if s.steps < 2:
        raise InputError(f"A path needs 2 steps or more, not {s.steps}; give steps, and a solver that makes so many.")

    def callback(step: Step) -> None:
        path(step)
        if watch:
            watch(step)

    pipeline.sample_latents(image, audio, prompt, s, anyway=anyway, callback=callback)
    grid = sigma_grid(s.solver, s.steps, s.shift)
    left = [(least, len(keep_levels(grid, path.points, least)) - 1) for least in THRESHOLDS]  # InputError if it is none
    with agreed():
        if jax.process_index() == 0:
            _store(folder, path.points)
    return "\n".join(f"skip {least:g}: {steps} of {s.steps} steps" for least, steps in left)


def _store(folder: str | Path, points: list[tuple[float, float]]) -> None:
    try:
        change_defaults(folder, velocity_path=points)
    except OSError as error:
        raise InputError(f"The path cannot be written into {folder}: {error}") from error
