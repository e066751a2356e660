"""Who a presenter is: skin, hair, glasses, clothes, build, the wall behind, and how the picture is framed."""

import math
import re
from dataclasses import dataclass

import numpy as np

Colour = tuple[int, int, int]
Number = float | int

SKINS = (
    (248, 216, 194), (240, 200, 168), (226, 182, 142), (208, 158, 118),
    (184, 132, 94), (158, 108, 76), (130, 86, 60), (104, 68, 50),
)  # fmt: skip
HAIR_COLOURS = {
    "black": (40, 36, 40),
    "brown": (98, 62, 38),
    "blonde": (224, 186, 104),
    "red": (172, 74, 34),
    "grey": (150, 150, 154),
    "white": (228, 226, 222),
    "blue": (58, 88, 190),
}
HAIR_STYLES = ("short", "long", "curly", "tied-up", "spiky", "shaved")
GLASSES = {"no": None, "round": (44, 44, 52), "square": (150, 36, 40)}
CLOTHES = ("T-shirt", "sweater", "shirt", "jacket")
PATTERNS = ("plain", "striped", "dotted", "checked")
CLOTHES_COLOURS = {
    "red": (196, 48, 56),
    "orange": (228, 124, 40),
    "yellow": (232, 196, 62),
    "green": (52, 138, 78),
    "turquoise": (34, 156, 160),
    "blue": (48, 88, 186),
    "purple": (120, 66, 160),
    "black": (54, 54, 62),
}
BUILDS = {"slim": 0.148, "average": 0.162, "broad": 0.178}  # from the middle to the shoulder joint
WALL_COLOURS = {
    "grey": (176, 182, 190),
    "white": (232, 236, 238),
    "teal": (110, 172, 170),
    "navy": (64, 78, 122),
    "mint": (172, 220, 186),
    "lavender": (192, 178, 222),
    "sky-blue": (150, 198, 232),
    "olive": (134, 142, 92),
}
WALLS = {
    "plain": "a plain {} wall",
    "picture": "a {} wall with a picture on it",
    "window": "a {} wall with a window",
    "shelf": "a {} wall with a bookshelf",
    "striped": "a wall papered in {} stripes",
    "panelled": "a {} wall with wooden panels below",
}
FRAMINGS = {"close": 1.04, "medium": 0.99, "wide": 0.94}  # size of the figure

_CHOICES = (
    SKINS, HAIR_COLOURS, HAIR_STYLES, GLASSES, CLOTHES, PATTERNS, CLOTHES_COLOURS, BUILDS, WALLS, WALL_COLOURS, FRAMINGS
)  # fmt: skip
_SPEAKERS = ("presenter", "person", "speaker", "host", "news reader", "teacher")
_BASES = (
    "A {who} with {hair}{glasses}, wearing a {clothes}, speaks in front of {wall}.",
    "A {who} in a {clothes} talks to the camera. The {who} has {hair}{glasses}. Behind is {wall}.",
    "In front of {wall}, a {who} with {hair}{glasses} talks. The {who} wears a {clothes}.",
    "A {clothes}, {hair}{glasses}: a {who} explains something before {wall}.",
    "A {framing} shot of a {who} who speaks to the viewer, dressed in a {clothes}, with {hair}{glasses}.",
)


@dataclass(frozen=True)
class Identity:
    """The looks of a presenter, by name; the colours vary a little within their name."""

    skin: Colour
    hair_colour: str
    hair_style: str
    glasses: str
    clothes: str
    pattern: str
    clothes_colour: str
    build: str
    wall: str
    wall_colour: str
    framing: str
    shades: tuple[Number, Number, Number, Number] = (1.0, 1.0, 1.0, 1.0)  # factors on skin, hair, clothes and wall
    shift: Number = 0.0  # of the figure to the right, as a fraction of the picture

    @classmethod
    def from_seed(cls, seed: int) -> "Identity":
        """The presenter of a seed; every name is equally likely and drawn on its own."""
        rng = np.random.default_rng([seed, 1])
        names = [list(choices)[rng.integers(len(choices))] for choices in _CHOICES]
        shades = tuple(float(shade) for shade in rng.uniform(0.92, 1.06, 4))
        return cls(*names, shades=shades, shift=float(rng.uniform(-0.02, 0.02)))

    def describe(self, rng: np.random.Generator) -> str:
        """A base sentence that tells these looks, in one of several forms."""
        hair = "a shaved head" if self.hair_style == "shaved" else f"{self.hair_style} {self.hair_colour} hair"
        pattern = "" if self.pattern == "plain" else f"{self.pattern} "
        told = str(rng.choice(_BASES)).format(
            who=rng.choice(_SPEAKERS),
            hair=hair,
            glasses="" if self.glasses == "no" else f" and {self.glasses} glasses",
            clothes=f"{pattern}{self.clothes_colour} {self.clothes}",
            wall=WALLS[self.wall].format(self.wall_colour),
            framing=self.framing,
        )
        return re.sub(r"\b([Aa]) (?=[aeio])", r"\1n ", told)

    @property
    def scale(self) -> float:
        """Size of the figure; 1 where the measures of the drawing hold as they are."""
        return FRAMINGS[self.framing]

    @property
    def shoulder(self) -> float:
        """Distance of a shoulder joint from the middle of the body."""
        return BUILDS[self.build]

    def colours(self) -> dict[str, Colour]:
        """Colours of skin, hair, clothes and wall as they are painted."""
        named = (
            self.skin,
            HAIR_COLOURS[self.hair_colour],
            CLOTHES_COLOURS[self.clothes_colour],
            WALL_COLOURS[self.wall_colour],
        )
        return {
            part: shade(colour, factor)
            for part, colour, factor in zip(("skin", "hair", "clothes", "wall"), named, self.shades, strict=True)
        }


COMBINATIONS = math.prod(map(len, _CHOICES))  # different presenters by name, above ten million


def shade(colour: Colour, factor: Number) -> Colour:
    """Lighter above 1, darker below."""
    return tuple(min(255, int(channel * factor)) for channel in colour)


def blend(colour: Colour, other: Colour, share: Number) -> Colour:
    """From `colour` (share 0) to `other` (share 1)."""
    return tuple(int((1 - share) * a + share * b) for a, b in zip(colour, other, strict=True))
