"""How to sample with EchoMimicV3: the one list of options, and what each variant's authors chose."""

import dataclasses
import typing
from typing import Any

from actavatar_jax.checks import COUNT, POSITIVE, WHOLE, Limit, check_fields, one_of, whole
from actavatar_jax.errors import InputError
from actavatar_jax.functional import check_seed
from actavatar_jax.media.clock import floor_frames
from actavatar_jax.storage import first_of

# About what the published ones say.
NEGATIVE_PROMPT = (
    "Gestures are bad and unclear. Hands are twisted or blurred. Fingers are deformed, fused or twitch. "
    "Hands swing fast, movements are exaggerated, mechanical and repeated."
)


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class EchoMimicSampling:
    """The options of one video; defaults are those of `preview`, `DEFAULTS` has both variants'.

    Where the public code does something strange, an option says so. `compounding` and `double_shift` are by default
    what it does, since its other values were chosen with them; `chunk_tail` is not, since it loses frames.
    """

    solver: str = "euler"  # euler | unipc | dpm++
    steps: int = 25
    shift: float = 5.0  # warp of the noise levels towards noise
    double_shift: bool = True  # whether dpm++ of `preview` warps them twice, as 25 would
    text_guidance: float = 4.0  # 1 or less: no guidance at all; `flash` reads no more of it than that
    audio_guidance: float = 2.9
    decay: bool = True  # whether `preview` lets both fall to their halves
    negative_prompt: str = NEGATIVE_PROMPT  # of `preview`
    negative_scale: float = 1.5  # what its features are multiplied by, of `preview`
    negative_steps: int = 2  # the last step, counted from 0, at which they are
    compounding: bool = True  # multiplied again at each of these steps and left so, not once and then no more
    num_frames: int | None = None  # of the whole video; None: as long as the speech
    chunk_frames: int = 113  # 4k+1, made at once; a longer video is made in chunks
    overlap: int = 8  # frames that a chunk knows of the one before
    chunk_tail: str = "pad"  # pad: the last chunk is made longer, and cut | drop: shorter, up to 3 frames are lost
    fade: str = (
        "linspace"  # weights of the new frames in an overlap: linspace from 0 to 1 | open, which never gets to 1
    )
    phase_time: str = "relay"  # relay: actions act in their windows (`prompt.forms`) | none: the text is taken as it is
    teacache: str = "off"  # off | separate | shared, which is what the public code of flash does (`teacache`)
    teacache_threshold: float = 0.1  # of the estimated change, at which blocks run again
    riflex: bool = False  # RIFLEx (`models.avatar.rope`), for the length of the whole video
    windows: bool = False  # all latents at once in sliding windows of 29, in the place of chunks
    match_colours: bool = True  # but for mouth, every frame has the mean and deviation of the first one's colours
    height: int | None = None  # pixels; None, with width: from the picture
    width: int | None = None
    seed: int = 43

    LIMITS: typing.ClassVar[dict[str, Limit]] = {
        "solver": one_of("euler", "unipc", "dpm++"),
        "steps": whole(1, 1000),
        "shift": POSITIVE,
        "negative_scale": POSITIVE,
        "negative_steps": WHOLE,
        "num_frames": Limit("a whole number above 0", lambda x: x is None or x > 0),
        "chunk_frames": Limit("9, 13, 17, ... (4k + 1)", lambda x: x >= 9 and x == floor_frames(x)),
        "overlap": COUNT,
        "chunk_tail": one_of("pad", "drop"),
        "teacache": one_of("off", "separate", "shared"),
        "teacache_threshold": POSITIVE,
        "phase_time": one_of("relay", "none"),
        "fade": one_of("linspace", "open"),
    }

    def __post_init__(self):
        check_fields(self, "sampling option ", **self.LIMITS)
        if self.overlap >= self.chunk_frames - 4:
            raise InputError(
                f"Chunks of {self.chunk_frames} frames cannot know {self.overlap} of the one before; accepted are 1 to "
                f"{self.chunk_frames - 5}."
            )
        if self.windows and self.teacache != "off":
            raise InputError("Windows are evaluated in full; leave teacache off, or windows out.")
        if (self.height is None) != (self.width is None):
            raise InputError("Height and width go together: give both, or neither to take them from the picture.")
        if self.height is not None and (min(self.height, self.width) < 1 or self.height % 16 or self.width % 16):
            raise InputError(f"A video of {self.height}x{self.width} cannot be made; both sides are multiples of 16.")
        check_seed(self.seed)

    def changed(self, **changes: Any) -> "EchoMimicSampling":
        """A copy with other values; InputError also for names that are no options."""
        names = [field.name for field in dataclasses.fields(self)]
        if unknown := sorted(changes.keys() - set(names)):
            raise InputError(f"There is no sampling option {first_of(unknown)}; there are: {', '.join(names)}.")
        return dataclasses.replace(self, **changes)


DEFAULTS = {
    "preview": EchoMimicSampling(),
    "flash": EchoMimicSampling(solver="unipc", steps=8, text_guidance=6.0, audio_guidance=3.0, chunk_frames=81),
}
