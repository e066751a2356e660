"""The ways to say each action, and which action a text names. Left and right are the presenter's own."""

import difflib
import re

_SIDED = {
    "raise": (
        "Raises the {side} arm.",
        "Lifts the {side} hand up high.",
        "Puts the {side} arm up.",
        "Holds the {side} hand up in the air.",
        "The {side} arm goes up.",
        "Stretches the {side} arm towards the ceiling.",
    ),
    "wave": (
        "Waves with the {side} hand.",
        "Waves the {side} arm.",
        "Greets with a wave of the {side} hand.",
        "The {side} hand waves at the viewer.",
        "Waves hello using the {side} hand.",
        "Gives a cheerful wave with the {side} arm.",
    ),
    "point": (
        "Points to the {side}.",
        "Points {side} with one finger.",
        "A finger points towards the {side}.",
        "Shows something on the {side} by pointing at it.",
        "Turns and points to the {side} side.",
        "Points out something on the {side}.",
    ),
    "lean": (
        "Leans to the {side}.",
        "Leans over to the {side} side.",
        "Bends the upper body to the {side}.",
        "The body leans {side}.",
        "Sways over to the {side} and stays there.",
        "Tips the whole body to the {side}.",
    ),
}


def _sided(kind: str, side: str) -> tuple[str, ...]:
    return tuple(wording.format(side=side) for wording in _SIDED[kind])


WORDINGS: dict[str, tuple[str, ...]] = {
    "raise_left": _sided("raise", "left"),
    "raise_right": _sided("raise", "right"),
    "wave_left": _sided("wave", "left"),
    "wave_right": _sided("wave", "right"),
    "point_up": (
        "Points up.",
        "Points upward with one finger.",
        "A finger points up at the ceiling.",
        "Points at the sky.",
        "Points upwards and looks up.",
        "Shows something above by pointing at it.",
    ),
    "point_down": (
        "Points down.",
        "Points downward with one finger.",
        "A finger points down at the floor.",
        "Points at the ground.",
        "Points downwards and looks down.",
        "Shows something below by pointing at it.",
    ),
    "point_left": _sided("point", "left"),
    "point_right": _sided("point", "right"),
    "open_arms": (
        "Opens both arms.",
        "Spreads the arms wide.",
        "Opens the arms in welcome.",
        "Stretches both arms out to the sides.",
        "The arms open wide.",
        "Spreads both arms as if to hug someone.",
    ),
    "clap": (
        "Claps.",
        "Claps with both hands.",
        "Applauds.",
        "The hands clap together.",
        "Gives a round of applause.",
        "Claps the hands in front of the chest.",
    ),
    "hand_on_chest": (
        "Puts a hand on the chest.",
        "Lays the right hand on the heart.",
        "Places a hand over the heart.",
        "Touches the chest with one hand.",
        "A hand rests on the chest.",
        "Presses one hand to the chest.",
    ),
    "nod": (
        "Nods.",
        "Nods the head.",
        "Gives a clear nod.",
        "Nods in agreement.",
        "The head nods.",
        "Says yes with a nod.",
    ),
    "shake_head": (
        "Shakes the head.",
        "Shakes the head in disagreement.",
        "The head shakes from side to side.",
        "Says no with a shake of the head.",
        "Gives the head a shake.",
        "Refuses, shaking the head.",
    ),
    "tilt_head": (
        "Tilts the head.",
        "Tilts the head to one side.",
        "The head tilts to the side.",
        "Cocks the head.",
        "Inclines the head sideways.",
        "Listens with a tilted head.",
    ),
    "lean_left": _sided("lean", "left"),
    "lean_right": _sided("lean", "right"),
    "count_fingers": (
        "Counts on the fingers.",
        "Counts to five with the fingers.",
        "Counts on one hand.",
        "The fingers count from one to five.",
        "Shows one finger after another, counting.",
        "Counts up to five on the fingers of one hand.",
    ),
    "shrug": (
        "Shrugs.",
        "Shrugs the shoulders.",
        "Gives a shrug.",
        "The shoulders go up in a shrug.",
        "Shrugs as if nobody knew.",
        "Answers with a shrug of the shoulders.",
    ),
    "hands_on_hips": (
        "Puts both hands on the hips.",
        "Places the hands on the hips.",
        "Stands with hands on hips.",
        "The hands go to the waist.",
        "Rests both hands on the waist.",
        "Sets the hands on the hips, elbows out.",
    ),
    "raise_both": (
        "Raises both arms.",
        "Lifts both hands up high.",
        "Throws both arms up in the air.",
        "Puts both arms up.",
        "Both arms go up.",
        "Holds up both hands.",
    ),
}

# An unknown wording names an action when all of its patterns occur, and those of no other action.
_RAISING = r"\b(rais|lift|throw|reach|(put|hold|held|stretch|go|goes)\b.*\bup\b|up in the air)"
_HAND, _HEAD, _LEFT, _RIGHT = r"\b(arm|hand)\b", r"\bhead\b", r"\bleft\b", r"\bright\b"
_WAVING, _POINTING, _LEANING = r"\b(wav)", r"\bpoint", r"\b(lean|bend|bow)"
_KEYS: dict[str, tuple[str, ...]] = {
    "raise_left": (_RAISING, _LEFT, _HAND),
    "raise_right": (_RAISING, _RIGHT, _HAND),
    "wave_left": (_WAVING, _LEFT),
    "wave_right": (_WAVING, _RIGHT),
    "point_up": (_POINTING, r"\b(up|upwards?|above|ceiling|sky)\b"),
    "point_down": (_POINTING, r"\b(down|downwards?|below|floor|ground)\b"),
    "point_left": (_POINTING, _LEFT),
    "point_right": (_POINTING, _RIGHT),
    "open_arms": (r"\b(open|spread)", r"\barms\b"),
    "clap": (r"\b(clap|applau)",),
    "hand_on_chest": (r"\bhand\b", r"\b(chest|heart)\b"),
    "nod": (r"\bnod",),
    "shake_head": (r"\b(shak|shook)", _HEAD),
    "tilt_head": (r"\b(tilt|cock|inclin)", _HEAD),
    "lean_left": (_LEANING, _LEFT),
    "lean_right": (_LEANING, _RIGHT),
    "count_fingers": (r"\bcount", r"\b(fingers?|hand)\b"),
    "shrug": (r"\bshrug",),
    "hands_on_hips": (r"\bhands\b", r"\b(hips?|waist)\b"),
    "raise_both": (_RAISING, r"\b(both|two)\b", r"\b(arms|hands)\b"),
}
_NEGATION = r"\b(not|no longer|never|without|stops?|neither|nor)\b|n't\b"


def find_action(text: str) -> str | None:
    """The action that a text names: a known wording, or clear key words. None where it names none, several or a not."""
    words = _plain(text)
    if words in _EXACT:
        return _EXACT[words]
    if re.search(_NEGATION, words):
        return None
    named = [name for name, keys in _KEYS.items() if all(re.search(key, words) for key in keys)]
    return named[0] if len(named) == 1 else None


def nearest_action(text: str) -> str:
    """The action whose wordings look most like the text: for telling, never for taking silently."""
    words = _plain(text)
    return max(WORDINGS, key=lambda name: max(_likeness(words, _plain(wording)) for wording in WORDINGS[name]))


def _likeness(words: str, wording: str) -> float:
    """Common beginnings of words count most, common letters decide between equals."""
    stems, known = ({word[:4] for word in text.split()} - _FILLING for text in (words, wording))
    common = len(stems & known) / max(len(stems | known), 1)
    return common + 0.5 * difflib.SequenceMatcher(None, words, wording).ratio()


_FILLING = {"the", "a", "with", "and", "to", "on", "of", "his", "her", "thei", "she", "he"}


def _plain(text: str) -> str:
    return " ".join(re.findall(r"[a-z']+", text.lower().replace("\u2019", "'")))


_EXACT = {_plain(wording): name for name, wordings in WORDINGS.items() for wording in wordings}
