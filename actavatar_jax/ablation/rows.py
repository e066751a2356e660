"""What is asked, the rule that answers it, and the rows: all fixed before any run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

QUESTION = "Does the paper's bare mechanism learn timing here, and at what cost compared with each help?"
LEAST_GAP = 0.1  # of temporal IoU above the score against shuffled windows
RULE = (
    f"Timing is learned when, over seeds, temporal IoU is at least {LEAST_GAP} above the score against shuffled "
    "windows with the interval of that gap above 0, and the interval of the centre correlation is above 0. The cost "
    "of going without a help is the gap that is lost to the full recipe after the same number of steps."
)
STAGES = ("stage1", "stage2", "joint")  # of the config; `joint` trains everything from the start


@dataclass(frozen=True)
class Row:
    """How a row differs from the full recipe: stage 1, then stage 2, on the backbone that all share."""

    stages: tuple[str, ...] = ("stage1", "stage2")
    changes: Mapping[str, Any] = field(default_factory=dict)  # of settings, such as {"stage2.model.phase_bias": "soft"}
    wording: str = "structured"  # of the prompts that it is sampled with
    frame_time: bool = True  # False: on a backbone of its own that has none
    model_of: str = ""  # the row whose models are scored; none are trained
    cues: int | None = None  # scored on clips with so many phases; None: as they come


def always(name: str, value: Any) -> dict[str, Any]:
    """A change of all trainings of a row."""
    return {f"{stage}.{name}": value for stage in STAGES}


PLAIN_RATE = {"stage2.rules": ((".*", 1.0),)}  # phase embeddings learn as fast as the rest
PLAIN_LEVELS = always("time_law.noisy_share", 0.0)
GAMMAS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)

ROWS = {
    "full": Row(),
    "global": Row(("joint",), always("model.gamma", 0.0) | always("data.wording", "global"), wording="global"),
    "paca": Row(("joint",), always("model.gamma", 0.0)),
    "progressive": Row(("joint",)),
    **{f"gamma-{gamma}": Row(changes=always("model.gamma", gamma)) for gamma in GAMMAS if gamma != 1.5},
    **{f"phases-{count}": Row(model_of="full", cues=count) for count in (1, 2, 3, 4)},
    **{f"bias-{kind}": Row(changes=always("model.phase_bias", kind)) for kind in ("soft", "hard")},
    "no-frame-time": Row(frame_time=False),
    "plain-rate": Row(changes=PLAIN_RATE),
    "plain-levels": Row(changes=PLAIN_LEVELS),
    "bare": Row(frame_time=False, changes=PLAIN_RATE | PLAIN_LEVELS),
}
GROUPS = {  # label -> row
    "table4": {
        "base, global prompt": "global",
        "+ PACA": "paca",
        "+ progressive audio": "progressive",
        "+ two stages (full)": "full",
    },
    "gamma": {f"gamma {gamma:g}": "full" if gamma == 1.5 else f"gamma-{gamma}" for gamma in GAMMAS},
    "phases": {f"{count} phase{'s' * (count > 1)}": f"phases-{count}" for count in (1, 2, 3, 4)},
    "bias": {"no window bias (full)": "full", "soft": "bias-soft", "hard": "bias-hard"},
    "helps": {
        "all three helps (full)": "full",
        "without frame time": "no-frame-time",
        "phase embeddings at the common rate": "plain-rate",
        "plain noise levels": "plain-levels",
        "without all three (bare mechanism)": "bare",
    },
}
