"""How to sample: the one list of the options that a video is made with.

Commands, jobs, configs and model folders take their options and defaults from here.
"""

import dataclasses
import typing
from typing import Any

from actavatar_jax.checks import NOT_NEGATIVE, Limit, check_fields, one_of
from actavatar_jax.diffusion.guidance import ALWAYS
from actavatar_jax.diffusion.guidance import guidance as make_guidance
from actavatar_jax.diffusion.solvers import sigma_grid
from actavatar_jax.errors import InputError
from actavatar_jax.functional import check_seed
from actavatar_jax.media.clock import RATES, floor_frames
from actavatar_jax.prompt.forms import check_form
from actavatar_jax.storage import first_of

_RATE = Limit(one_of(*RATES).words, lambda x: x in (None, *RATES))


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class Sampling:
    """The options of one video. What can be checked without a model is, and InputError says what is accepted."""

    steps: int = 40  # of the solver
    solver: str = "unipc"  # of `diffusion.solvers.SOLVERS`
    shift: float = 5.0  # warp of the noise levels towards noise
    text_guidance: float = 5.0
    audio_guidance: float = 5.0
    guidance: str = "auto"  # of `diffusion.guidance.FORMS`
    guidance_interval: tuple[float, float] = ALWAYS  # noise levels, low and high, between which there is guidance
    skip: float = 0.0  # noise levels between which the velocity changes less are left out (`diffusion.skipping`)
    negative_prompt: str | None = None  # None: the model's own
    num_frames: int | None = None  # 4k+1; None: the model's own
    rate: int | None = None  # frames a second, of `media.clock.RATES`; None: as the model was trained
    height: int | None = None  # pixels; None, with width: from the image at the model's own area
    width: int | None = None
    seed: int = 0  # of the initial noise
    phase_time: str | None = None  # of `prompt.forms`: how text knows time; None: as the model was trained

    def __post_init__(self):
        check_fields(self, "sampling option ", skip=NOT_NEGATIVE, rate=_RATE)
        if self.phase_time is not None:
            check_form(self.phase_time)
        sigma_grid(self.solver, self.steps, self.shift)
        make_guidance(self.guidance, self.text_guidance, self.audio_guidance, self.guidance_interval)
        if self.num_frames is not None:
            check_length(self.num_frames)
        if (self.height is None) != (self.width is None):
            raise InputError("Height and width go together: give both, or neither to take them from the image.")
        if self.height is not None and min(self.height, self.width) < 1:
            raise InputError(f"A video of {self.height}x{self.width} pixels has none; both sides must be at least 1.")
        check_seed(self.seed)

    def changed(self, **changes: Any) -> "Sampling":
        """A copy with other values. InputError also for names that are no options, and for steps that nobody chose."""
        if unknown := sorted(changes.keys() - set(OPTIONS)):
            raise InputError(f"There is no sampling option {first_of(unknown)}; there are: {', '.join(OPTIONS)}.")
        solver = changes.get("solver", self.solver)
        if self.solver == "mean" and solver != "mean" and "steps" not in changes:
            raise InputError(f"The solver {solver} would inherit the single step of mean; give steps with it.")
        return dataclasses.replace(self, **changes)


def check_length(frames: int) -> None:
    """InputError unless a video of `frames` frames can be made."""
    if frames < 5 or frames % 4 != 1:
        fault = "1 frame is the image itself" if frames == 1 else f"{frames} frames cannot be made"
        near = floor_frames(max(frames, 5))
        accepted = f"accepted are 5, 9, ... (4k + 1) frames, for example {near} or {near + 4}"
        raise InputError(f"A video of {fault}; {accepted}.")


OPTIONS = tuple(field.name for field in dataclasses.fields(Sampling))
