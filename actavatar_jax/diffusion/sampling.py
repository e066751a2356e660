"""How to sample: the one list of the options that a video is made with.

Commands, jobs, configs and model folders take their options and defaults from here.
"""

import dataclasses
import types
import typing
from numbers import Integral, Real
from typing import Any

from actavatar_jax.diffusion.guidance import guidance as make_guidance
from actavatar_jax.diffusion.solvers import sigma_grid
from actavatar_jax.errors import InputError
from actavatar_jax.media.clock import latent_frames

SEEDS = range(2**32)  # jax.random.key takes 32 bits: other numbers would repeat the noise of these


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
    negative_prompt: str | None = None  # None: the model's own
    num_frames: int | None = None  # 4k+1 at 25 fps; None: the model's own
    height: int | None = None  # pixels; None, with width: from the image at the model's own area
    width: int | None = None
    seed: int = 0  # of the initial noise

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = typed(f"sampling option {field.name}", getattr(self, field.name), field.type)
            object.__setattr__(self, field.name, value)
        sigma_grid(self.solver, self.steps, self.shift)
        make_guidance(self.guidance, self.text_guidance, self.audio_guidance)
        if self.num_frames is not None:
            check_length(self.num_frames)
        if (self.height is None) != (self.width is None):
            raise InputError("Height and width go together: give both, or neither to take them from the image.")
        if self.height is not None and min(self.height, self.width) < 1:
            raise InputError(f"A video of {self.height}x{self.width} pixels has none; both sides must be at least 1.")
        if self.seed not in SEEDS:
            raise InputError(f"The seed is {self.seed}; accepted is {SEEDS.start} to {SEEDS.stop - 1}.")

    def changed(self, **changes: Any) -> "Sampling":
        """A copy with other values. InputError also for names that are no options, and for steps that nobody chose."""
        if unknown := sorted(changes.keys() - set(OPTIONS)):
            raise InputError(f"There is no sampling option {', '.join(unknown)}; there are: {', '.join(OPTIONS)}.")
        solver = changes.get("solver", self.solver)
        if self.solver == "mean" and solver != "mean" and "steps" not in changes:
            raise InputError(f"The solver {solver} would inherit the single step of mean; give steps with it.")
        return dataclasses.replace(self, **changes)


def check_length(frames: int) -> None:
    """InputError unless a video of `frames` frames can be made."""
    if latent_frames(frames) < 2:
        raise InputError(f"A video of {frames} frame is the image itself; accepted are 5, 9, ... (4k + 1) frames.")


OPTIONS = tuple(field.name for field in dataclasses.fields(Sampling))

_WORDS = {int: (Integral, "a whole number"), float: (Real, "a number"), str: (str, "text"), dict: (dict, "an object")}


def typed(name: str, value: Any, kind: Any) -> Any:
    """`value` in the form that an annotation asks for, or InputError under `name`.

    Forms are int, float, str, dict and other classes, tuples of one of them (lists will do), and each `| None`.
    """
    form, parts = typing.get_origin(kind), typing.get_args(kind)
    if form is types.UnionType:
        return None if value is None else typed(name, value, parts[0])
    if form is tuple:
        length = None if parts[-1] is ... else len(parts)
        if not isinstance(value, list | tuple) or length not in (None, len(value)):
            raise InputError(f"The {name} is {value!r}; accepted is a list{f' of {length}' if length else ''}.")
        return tuple(typed(name, item, parts[0]) for item in value)
    accepted, words = _WORDS.get(kind, (kind, f"a {kind.__name__}"))
    if isinstance(value, bool) or not isinstance(value, accepted):
        raise InputError(f"The {name} is {value!r}; accepted is {words}.")
    return kind(value) if kind in (int, float) else value
