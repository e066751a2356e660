"""Guidance by text and audio: every form is a linear combination of velocities under some of four conditions.

v(T, A) sees text and audio, v(T, 0) no audio, v(0, A) the negative prompt instead of the text, v(0, 0) neither.

Guidance can be limited to an interval of noise levels (Kynkäänniemi et al., arXiv 2404.07724): outside it v(T, A) alone
is evaluated, which is every form at scales of 1.
"""

import math
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from actavatar_jax.errors import InputError
from actavatar_jax.storage import shown

FORMS = ("auto", "joint", "text_first", "audio_first", "audio_only")

NONE, TEXT, AUDIO, BOTH = (False, False), (True, False), (False, True), (True, True)
ALWAYS = (0.0, 1.0)  # the interval of all noise levels


@dataclass(frozen=True)
class Guidance:
    """The branches to evaluate, each (use_text, use_audio), and the weight of each one's velocity.

    `interval` are the noise levels low < sigma <= high at which that is so; at others it is the branch `BOTH` alone.
    """

    branches: tuple[tuple[bool, bool], ...]
    weights: tuple[float, ...]
    interval: tuple[float, float] = ALWAYS

    def guided(self, sigmas: Float[np.ndarray, " steps"]) -> Bool[np.ndarray, " steps"]:
        """Whether `branches` are evaluated at these noise levels: everywhere if they are `BOTH` alone in any case."""
        low, high = self.interval
        return (low < sigmas) & (sigmas <= high) | (self.branches == (BOTH,))


def guidance(form: str, text: float, audio: float, interval: tuple[float, float] = ALWAYS) -> Guidance:
    """Branches and weights of a guidance form with scales `text` and `audio`; branches of weight 0 are left out.

    joint        v(0,0) + g [v(T,A) - v(0,0)], for equal scales g
    text_first   v(0,0) + text [v(T,0) - v(0,0)] + audio [v(T,A) - v(T,0)]
    audio_first  v(0,0) + audio [v(0,A) - v(0,0)] + text [v(T,A) - v(0,A)]
    audio_only   v(T,0) + audio [v(T,A) - v(T,0)]; has no text scale, `text` is ignored
    auto         joint when the scales are equal, else text_first

    With equal scales the two forms of three terms are joint, term by term, and cost two evaluations like it.
    `interval` is (low, high) in noise levels from 0 to 1: see `Guidance`.
    """
    if form not in FORMS:
        raise InputError(f"There is no guidance form {shown(form)}; choose one of {', '.join(FORMS)}.")
    if not (math.isfinite(text) and math.isfinite(audio)):
        raise InputError(f"Guidance scales must be finite numbers, not text {text} and audio {audio}.")
    if form == "joint" and text != audio:
        raise InputError(
            f"Joint guidance has one scale, but text is {text} and audio is {audio}; make them equal or choose "
            "text_first or audio_first."
        )
    if not 0 <= interval[0] <= interval[1] <= 1:
        raise InputError(
            f"The guidance interval is {interval[0]:g} to {interval[1]:g}; accepted are two noise levels from 0 to 1, "
            "the lower one first."
        )
    if form == "audio_only":
        terms = {TEXT: 1 - audio, BOTH: audio}
    elif form == "audio_first":
        terms = {NONE: 1 - audio, AUDIO: audio - text, BOTH: text}
    else:
        terms = {NONE: 1 - text, TEXT: text - audio, BOTH: audio}
    kept = {branch: float(weight) for branch, weight in terms.items() if weight != 0}
    return Guidance(tuple(kept), tuple(kept.values()), interval)


def combine(weights: Float[Array, "G"], velocities: Float[Array, "G *shape"]) -> Float[Array, "*shape"]:
    """The guided velocity, in float32; a sum and no matrix product, which accelerators would round to bfloat16."""
    velocities = velocities.astype(jnp.float32)
    return jnp.sum(weights.astype(jnp.float32).reshape(-1, *(1,) * (velocities.ndim - 1)) * velocities, axis=0)
