"""How text knows time: the forms in which a model's text cross-attention learns when a phase happens.

paper       the text has labels and anchors, and every phase an embedding (eq. 2, 3 of ActAvatar)
relay       a bias of the attention scores keeps a phase to its window (Prompt Relay, arXiv 2604.10030)
soft_relay  the same with a strength that each block learns
tie         queries turn with the time of their frame, keys with the interval of their phase (TIE, arXiv 2605.10543)
point       of `tie` the middle of the interval alone
original    of `tie` its start and its end, in half of the pairs each

Sums are `paper+` one of the others. Without `paper` the text is bare: base and actions, without labels and anchors.
"""

from actavatar_jax.errors import InputError
from actavatar_jax.storage import shown

PAPER = "paper"
BIASES = ("relay", "soft_relay")
TURNS = ("tie", "point", "original")
FORMS = (PAPER, *BIASES, *TURNS, *(f"{PAPER}+{other}" for other in (*BIASES, *TURNS)))


def check_form(form: str) -> None:
    """InputError for a form that there is not."""
    if form not in FORMS:
        raise InputError(f"The phase_time is {shown(form)}; accepted is {', '.join(FORMS)}.")


def has_anchors(form: str) -> bool:
    """Whether texts have labels and anchors, and phases embeddings."""
    return PAPER in form.split("+")


def bias_of(form: str) -> str | None:
    """The one of `BIASES` that is in it."""
    return next((part for part in form.split("+") if part in BIASES), None)


def turn_of(form: str) -> str | None:
    """The one of `TURNS` that is in it."""
    return next((part for part in form.split("+") if part in TURNS), None)
