"""Clips of the drawn world: a presenter speaks and does what the structured prompt says, when it says so.

Everything comes from a seed, in streams of their own for looks, speech, script, wording and idle motion: what is given
in place of one of them leaves the others as they are.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, UInt8

from actavatar_jax.errors import InputError
from actavatar_jax.media.clock import FPS, SAMPLES_PER_FRAME
from actavatar_jax.media.video import write_video
from actavatar_jax.prompt import StructuredPrompt
from actavatar_jax.puppets import speech
from actavatar_jax.puppets.world.actions import ACTIONS
from actavatar_jax.puppets.world.draw import draw
from actavatar_jax.puppets.world.identity import Identity, Number
from actavatar_jax.puppets.world.idle import random_poses, told_poses
from actavatar_jax.puppets.world.pose import JOINTS, Pose, joints
from actavatar_jax.puppets.world.script import Cue, make_prompt, make_script, read_prompt, tell_in_order
from actavatar_jax.speech import VOICES, Phoneme, Utterance, speak
from actavatar_jax.storage import write_json

__all__ = [
    "ACTIONS",
    "JOINTS",
    "Cue",
    "PuppetClip",
    "World",
    "find_cues",
    "find_prompt",
    "make_clip",
    "write_clip",
    "write_clips",
]


IDLE = ("told", "random")  # see `idle`


@dataclass(frozen=True)
class World:
    """What all clips have in common: the picture's side in pixels, frames, the grid of windows in seconds."""

    side: int = 64
    frames: int = 77
    grid: Number = 0.5
    max_phases: int = 4
    languages: tuple[str, ...] = ("en", "de")
    idle: str = "told"  # by speech and looks; random: by nothing that a model could know

    def __post_init__(self):
        spoken = {voice.language for voice in VOICES.values()}
        sizes = self.side >= 16 and self.frames >= 1 and self.grid > 0 and 1 <= self.max_phases <= 4
        if not (sizes and self.languages and spoken.issuperset(self.languages) and self.idle in IDLE):
            raise InputError(
                f"{self} is no world of puppets: accepted are a side of 16 pixels or more, one frame or more, a grid "
                f"above 0 s, 1 to 4 phases, languages of {', '.join(sorted(spoken))} and idle {' or '.join(IDLE)}."
            )

    @classmethod
    def from_dict(cls, values: dict) -> "World":
        """Inverse of `dataclasses.asdict`, also after JSON; InputError for values that are none of a world."""
        try:
            return cls(**{**values, "languages": tuple(values["languages"])})
        except (KeyError, TypeError) as error:
            raise InputError(f"{values} is no world of puppets: {error}.") from error


@dataclass(frozen=True, eq=False)
class PuppetClip:
    """A drawn clip at 25 frames per second and 16 kHz, its prompts, and the truth that they are measured against."""

    frames: UInt8[np.ndarray, "F side side 3"]
    audio: Float32[np.ndarray, " samples"]
    prompt: StructuredPrompt
    brief: StructuredPrompt  # the base alone
    global_prompt: StructuredPrompt  # the actions told in order, without times
    sentence: str
    voice: str
    cues: tuple[Cue, ...]
    phonemes: tuple[Phoneme, ...]
    words: tuple[float, ...]  # seconds in which they begin
    opening: Float[np.ndarray, " F"]  # of the mouth: 0 closed to 1
    width: Float[np.ndarray, " F"]  # of the mouth: 0 rounded to 1 spread
    joints: Float32[np.ndarray, "F J"]  # see JOINTS
    identity: Identity


def make_clip(
    seed: int,
    world: World = World(),
    *,
    identity: Identity | None = None,
    sentence: str | None = None,
    prompt: StructuredPrompt | None = None,
    voice: str | None = None,
    idle_seed: int | None = None,
) -> PuppetClip:
    """The clip of a seed: the same bytes every time. What is given replaces what the seed would choose.

    `idle_seed` is that of idle motion where nothing tells it (`World.idle`).

    Refused with an InputError: a prompt with an action that puppets do not know or a window outside the clip, an
    unknown voice, and a sentence that the voice cannot speak or that lasts longer than the clip.
    """
    identity = identity or Identity.from_seed(seed)
    if prompt is None:
        cues, prompt = find_cues(seed, world), find_prompt(seed, world, identity)
    else:
        cues = read_prompt(prompt, world.frames)
    sentence, voice, utterance = _speech(seed, world, sentence, voice)
    mouth = speech.visemes(utterance.phonemes, world.frames)
    if world.idle == "told":
        idle = told_poses(identity, utterance.phonemes, mouth)
    else:
        idle = random_poses(np.random.default_rng([seed if idle_seed is None else idle_seed, 5]), mouth)
    poses = [_act(pose, cues, k / FPS) for k, pose in enumerate(idle)]
    return PuppetClip(
        frames=draw(identity, poses, world.side),
        audio=utterance.samples,
        prompt=prompt,
        brief=StructuredPrompt(prompt.base),
        global_prompt=tell_in_order(prompt),
        sentence=sentence,
        voice=voice,
        cues=cues,
        phonemes=utterance.phonemes,
        words=utterance.words,
        opening=mouth.opening,
        width=mouth.width,
        joints=np.stack([joints(identity, pose) for pose in poses]),
        identity=identity,
    )


def find_cues(seed: int, world: World) -> tuple[Cue, ...]:
    """What happens in the clip of a seed; nothing is drawn."""
    return make_script(np.random.default_rng([seed, 3]), world.frames, world.grid, world.max_phases)


def find_prompt(seed: int, world: World, identity: Identity | None = None) -> StructuredPrompt:
    """The prompt of the clip of a seed; nothing is drawn."""
    identity, words = identity or Identity.from_seed(seed), np.random.default_rng([seed, 4])
    return make_prompt(words, identity.describe(words), find_cues(seed, world))


def write_clips(folder: str | Path, seeds: Iterable[int], world: World = World()) -> list[Path]:
    """Write `puppet_<seed>.mp4` of every seed with its prompt and truth beside it; the videos' paths."""
    paths = []
    for seed in seeds:
        paths.append(Path(folder) / f"puppet_{seed:06d}.mp4")
        write_clip(paths[-1], make_clip(seed, world))
    return paths


def write_clip(path: str | Path, clip: PuppetClip) -> None:
    """Write a video with sound to `path`, its prompt to `.json` and what only the maker knows to `.truth.json`."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, clip.frames, clip.audio)
        write_json(path.with_suffix(".json"), clip.prompt.to_dict())
        write_json(path.with_suffix(".truth.json"), truth(clip))
    except OSError as error:
        raise InputError(f"The clip {path} cannot be written ({error.strerror}).") from error


def truth(clip: PuppetClip) -> dict:
    """What is true of a clip beside its prompt, ready for JSON: times in seconds, one row per frame."""
    return {
        "sentence": clip.sentence,
        "voice": clip.voice,
        "global_prompt": clip.global_prompt.base,
        "cues": [asdict(cue) for cue in clip.cues],
        "phonemes": [asdict(phoneme) for phoneme in clip.phonemes],
        "opening": np.round(clip.opening, 4).tolist(),
        "width": np.round(clip.width, 4).tolist(),
        "joint_names": list(JOINTS),
        "joints": np.round(clip.joints, 4).tolist(),
        "identity": asdict(clip.identity),
    }


# ---- parts


def _speech(seed: int, world: World, sentence: str | None, voice: str | None) -> tuple[str, str, Utterance]:
    """The text, its voice, and the sound that fills the clip; own sentences go on until it is full."""
    rng = np.random.default_rng([seed, 2])
    known = [name for name, one in VOICES.items() if one.language in world.languages]
    chosen, rate, pitch = str(rng.choice(known)), int(rng.integers(150, 200)), int(rng.integers(30, 70))
    voice = voice or chosen
    if sentence is not None:
        utterance = speak(sentence, voice, rate, pitch, max_seconds=world.frames / FPS)
        return sentence, voice, speech.fit(utterance, world.frames, rng)
    words = np.random.default_rng([seed, 6])
    language = VOICES[voice].language if voice in VOICES else world.languages[0]
    sentence = speech.make_sentence(words, language)
    utterance = speak(sentence, voice, rate, pitch)
    while len(utterance.samples) < world.frames * SAMPLES_PER_FRAME:
        sentence = f"{sentence} {speech.make_sentence(words, language)}"
        utterance = speak(sentence, voice, rate, pitch)
    return sentence, voice, speech.fit(utterance, world.frames, rng)


def _act(pose: Pose, cues: tuple[Cue, ...], time: Number) -> Pose:
    for cue in cues:
        if (strength := cue.strength(time)) > 0:
            pose = ACTIONS[cue.action].apply(pose, time - cue.start, cue.end - cue.start, strength)
    return pose
