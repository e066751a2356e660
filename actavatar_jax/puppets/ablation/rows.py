"""What is asked, the rule that answers it, and the rows: all fixed before any run.

Pilots showed that without a window bias timing takes several times the steps that lips and actions take. So the recipe
that rows differ from has the soft bias, and what text alone can do is asked by rows without it, for more steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

QUESTION = (
    "Does the paper's bare mechanism learn timing here, and at what cost compared with each help? Which form of time "
    "in text places actions best, and which still does so in finer windows and with more phases than it was trained on?"
)
LEAST_GAP = 0.1  # of temporal IoU above the score against shuffled windows
RULE = (
    f"Timing is learned when, over seeds, temporal IoU is at least {LEAST_GAP} above the score against shuffled "
    "windows with the interval of that gap above 0, and the interval of the centre correlation is above 0. The cost "
    "of going without a help is the gap that is lost to all three helps after the same number of steps."
)
STAGES = ("stage1", "stage2", "joint")  # of the config; `joint` trains everything from the start


@dataclass(frozen=True)
class Row:
    """How a row differs from the full recipe: stage 1, then stage 2 with the soft window bias, on one backbone."""

    stages: tuple[str, ...] = ("stage1", "stage2")
    changes: Mapping[str, Any] = field(default_factory=dict)  # of settings: {"stage2.model.phase_time": "paper"}
    wording: str = "structured"  # of the prompts that it is sampled with
    frame_time: bool = True  # False: on a backbone of its own that has none
    model_of: str = ""  # the row whose models are scored; none are trained
    cues: int | None = None  # scored on clips with so many phases; None: as they come
    grid: float | None = None  # scored on clips whose windows are on this grid, in seconds; None: as trained


def always(name: str, value: Any) -> dict[str, Any]:
    """A change of all trainings of a row."""
    return {f"{stage}.{name}": value for stage in STAGES}


NO_BIAS = always("model.phase_time", "paper")  # timing from text and phase embeddings only
PLAIN_RATE = {"stage2.rules": ((".*", 1.0),)}  # phase embeddings learn as fast as the rest
PLAIN_LEVELS = always("time_law.noisy_share", 0.0)
GAMMAS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
FORMS = {  # of time in text (`prompt.forms`) -> row
    "paper": "text",
    "paper+soft_relay (full)": "full",
    "paper+relay": "hard",
    **{form: form for form in ("relay", "tie", "point", "original", "paper+tie")},
}
FINE = 0.1  # seconds; windows are trained on a grid of 0.5 s
FEW = always("data.world.max_phases", 2)

ROWS = {
    "full": Row(),
    "global": Row(("joint",), always("model.gamma", 0.0) | always("data.wording", "global"), wording="global"),
    "paca": Row(("joint",), always("model.gamma", 0.0)),
    "progressive": Row(("joint",)),
    **{f"gamma-{gamma}": Row(changes=always("model.gamma", gamma)) for gamma in GAMMAS if gamma != 1.5},
    **{f"phases-{count}": Row(model_of="full", cues=count) for count in (1, 2, 3, 4)},
    "hard": Row(changes=always("model.phase_time", "paper+relay")),
    "text": Row(changes=NO_BIAS),
    "no-frame-time": Row(frame_time=False, changes=NO_BIAS),
    "plain-rate": Row(changes=NO_BIAS | PLAIN_RATE),
    "plain-levels": Row(changes=NO_BIAS | PLAIN_LEVELS),
    "bare": Row(frame_time=False, changes=NO_BIAS | PLAIN_RATE | PLAIN_LEVELS),
    **{form: Row(changes=always("model.phase_time", form)) for form, name in FORMS.items() if form == name},
}
ROWS |= {f"{name}-fine": Row(model_of=name, grid=FINE) for name in FORMS.values()}
ROWS |= {f"{name}-few": Row(changes={**ROWS[name].changes, **FEW}) for name in FORMS.values()}
ROWS |= {f"{name}-few-{cues}": Row(model_of=f"{name}-few", cues=cues) for name in FORMS.values() for cues in (3, 4)}
GROUPS = {  # label -> row
    "table4": {
        "base, global prompt": "global",
        "+ PACA": "paca",
        "+ progressive audio": "progressive",
        "+ two stages (full)": "full",
    },
    "gamma": {f"gamma {gamma:g}": "full" if gamma == 1.5 else f"gamma-{gamma}" for gamma in GAMMAS},
    "phases": {f"{count} phase{'s' * (count > 1)}": f"phases-{count}" for count in (1, 2, 3, 4)},
    "forms": FORMS,
    "extrapolation": {
        f"{form}, {label}": f"{name}{suffix}"
        for form, name in FORMS.items()
        for label, suffix in {
            "as trained": "",
            f"windows of {FINE} s": "-fine",
            "at most 2 phases, as trained": "-few",
            "on 3 phases": "-few-3",
            "on 4 phases": "-few-4",
        }.items()
    },
    "bias": {"no window bias": "text", "soft (full)": "full", "hard": "hard"},
    "helps": {
        "no window bias, all three helps": "text",
        "without frame time": "no-frame-time",
        "phase embeddings at the common rate": "plain-rate",
        "plain noise levels": "plain-levels",
        "without all three (bare mechanism)": "bare",
    },
}
