"""What a training is told: frozen, checked, every duration a number of steps.

Errors name settings as a config does; `runs.resolve` makes these of one. What they are by default is told in
`runs/settings.py` alone.
"""

import dataclasses
import typing

from actavatar_jax.checks import DECAY, NOT_NEGATIVE, POSITIVE, Limit, check_fields, one_of, whole
from actavatar_jax.functional import SEEDS
from actavatar_jax.parallel import ParameterGroups
from actavatar_jax.training.lora import LoraSettings
from actavatar_jax.training.objective import Objective
from actavatar_jax.training.preference import PreferenceSettings

CONTENTS = "contents of "  # and the name of a setting: in a run's description, what the files hold that it names
MOST_STEPS = 2**31 - 1  # that are counted on the devices
SEED, SOME, STEPS = whole(SEEDS.start, SEEDS.stop - 1), whole(1, MOST_STEPS), whole(0, MOST_STEPS)


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class OptimizerSettings:
    """AdamW and its learning rate. InputError for values that are not accepted."""

    learning_rate: float
    schedule: str  # constant | cosine, after the warm-up
    warmup: int  # steps
    decay: int  # last steps, over which a constant rate falls to 0; 0: it does not
    b1: float
    b2: float
    eps: float  # beside the root of the second moment
    weight_decay: float  # of kernels only
    clip: float  # global norm of the gradient
    moments: str  # of Adam's first moment: float32 | bfloat16
    ema_decay: float  # of the weights' running average; 0: there is none

    def __post_init__(self):
        check_fields(
            self,
            "setting optim.",
            learning_rate=POSITIVE,
            schedule=one_of("constant", "cosine"),
            warmup=STEPS,
            decay=STEPS,
            b1=DECAY,
            b2=DECAY,
            eps=POSITIVE,
            weight_decay=NOT_NEGATIVE,
            clip=POSITIVE,
            moments=one_of("float32", "bfloat16"),
            ema_decay=DECAY,
        )


@typing.no_type_check
@dataclasses.dataclass(frozen=True, kw_only=True)
class CourseSettings:
    """How long any training goes on and what comes between its steps (`course.Course`), and its optimizer.

    InputError for values that are not accepted; a mesh is checked where it is made.
    """

    seed: int  # of noise and times
    mesh: str  # as `make_mesh` takes it
    steps: int  # length of the run
    log_every: int  # steps
    checkpoint_every: int  # steps; 0: never
    sample_every: int  # steps; 0: never
    heldout_every: int = 0  # steps; 0: never
    bad_steps: int  # steps in a row without a usable gradient, after which a run stops
    explode: float  # see `skip_bad_steps`; 0: off
    stall_minutes: float  # without a step, after which a run exits; 0: off
    optim: OptimizerSettings

    LIMITS: typing.ClassVar[dict[str, Limit]] = {
        "seed": SEED,
        **dict.fromkeys(("steps", "checkpoint_every", "sample_every", "heldout_every"), STEPS),
        **dict.fromkeys(("log_every", "bad_steps"), SOME),
        **dict.fromkeys(("explode", "stall_minutes"), NOT_NEGATIVE),
    }

    def __post_init__(self):
        check_fields(self, "setting ", **self.LIMITS)


@typing.no_type_check
@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingSettings(CourseSettings):
    """What `loop.train` does. Raises as `CourseSettings`."""

    micro_batches: int  # parts in which a batch is computed one after the other
    rules: ParameterGroups  # of the learning rate's multiples, None where a parameter is frozen
    objective: Objective
    preference: PreferenceSettings | None = None  # of batches of pairs, where there are any
    lora: LoraSettings | None = None  # leaves that are added to the model, of which `rules` tell as of its own

    LIMITS: typing.ClassVar[dict[str, Limit]] = {**CourseSettings.LIMITS, "micro_batches": SOME}


@typing.no_type_check
@dataclasses.dataclass(frozen=True)
class VAEPhase:
    """A part of the training of a VAE. InputError for values that are not accepted."""

    share: float  # of the steps, beside those of the other phases
    frames: int  # of a clip
    clips: int  # in a step

    def __post_init__(self):
        check_fields(self, "value of phases, its ", share=POSITIVE, frames=SOME, clips=SOME)


@typing.no_type_check
@dataclasses.dataclass(frozen=True)
class VAESettings:
    """What `vae.train_vae` does. InputError for values that are not accepted."""

    seed: int
    steps: int
    log_every: int
    phases: tuple[VAEPhase, ...]
    learning_rate: float  # flat for 40 % of the steps, then to zero
    kl_weight: float
    statistics_batches: int  # of the last phase, over which the latents are measured

    def __post_init__(self):
        check_fields(
            self,
            "setting ",
            seed=SEED,
            steps=SOME,
            log_every=SOME,
            learning_rate=POSITIVE,
            kl_weight=NOT_NEGATIVE,
            statistics_batches=SOME,
        )
