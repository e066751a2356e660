"""What the model is shown and told: frames that carry their times, the sound, the words, and the task."""

import base64
import io
import json
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from actavatar_jax.chat import Message, picture_part, text_part
from actavatar_jax.errors import InputError
from actavatar_jax.media.audio import decode_audio
from actavatar_jax.media.clock import FPS, SAMPLE_RATE
from actavatar_jax.media.image import fit_image
from actavatar_jax.media.video import probe, read_frames
from data_pipelines.annotation.reading import Fault
from data_pipelines.annotation.schema import ACTION_WORDS, ANSWER_SCHEMA, BASE_WORDS, MOST_ACTS, SHORTEST_ACT
from data_pipelines.table import Skip, digest

EVERY = 5  # frames of the clip from one that is shown to the next: 0.2 s
LONG_SIDE = 448  # pixels
LONGEST = 20.0  # seconds; more frames than 100 would not fit in a server's usual context

_ROLE = (
    "You write down body movement for a film crew: what one person, who is speaking to the camera, does with the body, "
    "and exactly when. You answer with one JSON object and nothing around it."
)
_FORM = (
    f'The JSON object has three keys. "base": {BASE_WORDS[0]} to {BASE_WORDS[1]} words on what holds throughout: the '
    "person's looks and clothing, the place, mood and style, the overall manner of speaking. No word about time in it. "
    f'"phases": 1 to {MOST_ACTS} acts in the order of time, not overlapping, each {SHORTEST_ACT} s or longer, each '
    'with "start" and "end" in seconds with one decimal; '
    f'"action", one sentence of {ACTION_WORDS[0]} to {ACTION_WORDS[1]} words in the present tense, only movement that '
    'can be seen; "body_part", the part that moves most; "speech", the words spoken in that window, or an empty text. '
    '"confidence": a number from 0 to 1, how sure you are of the windows. '
    "Do not write down lip movement, thoughts, or parts of the body that the picture does not show. "
    f"The schema: {json.dumps(ANSWER_SCHEMA, separators=(',', ':'))}"
)
_ANNOTATE = (
    "Above are frames of a clip of {seconds:.1f} s, each after its time, and then its sound. Write down what the "
    "person does. Find each act's first and last frame by the times above the frames. "
    "Where the person keeps still, leave a gap. "
)
_PLAN = (
    "Above are a picture of a person and the sound of a speech of {seconds:.1f} s that this person is to give. "
    "Propose what the person should do while speaking: a few acts that fit the words and their stresses, that are "
    "possible from the pose in the picture, and that stay inside the frame. "
    "All windows lie between 0 and {seconds:.1f}. "
)
_AGAIN = "That cannot be used:\n{faults}\nAnswer again with the whole corrected JSON object and nothing around it."

PROMPT_VERSION = f"1-{digest(_ROLE, _FORM, _ANNOTATE, _PLAN, _AGAIN, f'{EVERY} {LONG_SIDE}')[:8]}"


@dataclass(frozen=True, eq=False)
class Material:
    """What a model gets to see and hear."""

    seconds: float
    frames: Sequence[tuple[float, UInt8[np.ndarray, "H W 3"]]]  # each with its time in seconds
    sound: Float32[np.ndarray, " n"]  # at 16 kHz


def load_material(clip: Path) -> Material:
    """Five frames a second and the sound of a prepared clip. Raises Skip for clips that are too long or silent."""
    frames, count = [], 0
    try:
        for count, frame in enumerate(read_frames(clip, LONGEST + 1), start=1):
            if (count - 1) % EVERY == 0:
                frames.append(((count - 1) / FPS, _small(frame)))
        sound = decode_audio(clip, origin=probe(clip).start, limit=int((LONGEST + 1) * SAMPLE_RATE))
    except InputError as error:
        raise Skip("unreadable", str(error)) from error
    if count > LONGEST * FPS:
        raise Skip("too long", f"more than {LONGEST:g} s, which is what one request can hold")
    if sound is None or not len(sound):
        raise Skip("no sound", "the clip has no sound")
    return Material(count / FPS, frames, sound)


def make_annotation_request(material: Material, transcript: str, audio_part: str) -> list[Message]:
    """The conversation that asks what happens in a clip."""
    parts = []
    for time, frame in material.frames:
        parts += [text_part(f"frame at {time:.1f} s"), picture_part(frame)]
    parts += [text_part("the sound"), _audio(material.sound, audio_part)]
    words = f"A speech recogniser heard: {transcript}\n" if transcript else ""
    return _conversation([*parts, text_part(words + _ANNOTATE.format(seconds=material.seconds) + _FORM)])


def make_plan_request(material: Material, audio_part: str) -> list[Message]:
    """The conversation that asks what should happen while a speech is given."""
    (_, picture), *_ = material.frames
    task = text_part(_PLAN.format(seconds=material.seconds) + _FORM)
    return _conversation([picture_part(_small(picture)), _audio(material.sound, audio_part), task])


def make_repair_turns(answer: str, faults: Sequence[Fault]) -> list[Message]:
    """What to add to a conversation so that an answer's faults are put right."""
    listed = "\n".join(f"- {fault.message}" for fault in faults)
    return [
        {"role": "assistant", "content": answer or "(nothing)"},
        {"role": "user", "content": _AGAIN.format(faults=listed)},
    ]


def _conversation(parts: list[dict]) -> list[Message]:
    return [{"role": "system", "content": _ROLE}, {"role": "user", "content": parts}]


def _audio(samples: Float32[np.ndarray, " n"], audio_part: str) -> dict:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(SAMPLE_RATE)
        sound.writeframes((samples * 32767).round().astype("<i2").tobytes())
    if audio_part == "input_audio":
        return {"type": "input_audio", "input_audio": {"data": _base64(file), "format": "wav"}}
    return {"type": "audio_url", "audio_url": {"url": f"data:audio/wav;base64,{_base64(file)}"}}


def _base64(file: io.BytesIO) -> str:
    return base64.b64encode(file.getvalue()).decode()


def _small(pixels: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """At most LONG_SIDE pixels on the long side, the aspect kept."""
    scale = min(1.0, LONG_SIDE / max(pixels.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    return fit_image(pixels, height, width)
