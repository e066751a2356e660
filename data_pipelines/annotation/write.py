"""A structured prompt for a picture and a speech: the model proposes what the person should do."""

from pathlib import Path

from actavatar_jax.chat import ChatClient
from actavatar_jax.errors import InputError
from actavatar_jax.media.audio import load_audio
from actavatar_jax.media.clock import SAMPLE_RATE
from actavatar_jax.media.image_file import load_image
from actavatar_jax.prompt import StructuredPrompt, Tokenizer
from data_pipelines.annotation.dialogue import ask_with_repair
from data_pipelines.annotation.request import LONGEST, Material, make_plan_request
from data_pipelines.annotation.scene import Scene
from data_pipelines.annotation.schema import ANSWER_SCHEMA, SHORTEST_ACT
from data_pipelines.table import Skip


def write_prompt(
    image: str | Path,
    audio: str | Path,
    client: ChatClient,
    *,
    seconds: float | int | None = None,
    tokenizer: Tokenizer | None = None,
) -> StructuredPrompt:
    """A prompt that fits the picture and the first `seconds` of the speech (default: all of it).

    Raises InputError where the speech is shorter than one act or longer than 20 s, and where the model gives no usable
    answer in two.
    """
    sound = load_audio(audio, max_seconds=LONGEST + 1)  # a second more tells that it is too long
    length = len(sound) / SAMPLE_RATE if seconds is None else min(float(seconds), len(sound) / SAMPLE_RATE)
    if not SHORTEST_ACT <= length <= LONGEST:
        asked = f"more than {LONGEST:g} s" if length > LONGEST else f"{length:.2f} s"
        raise InputError(
            f"a prompt for {asked} of {audio}: accepted are {SHORTEST_ACT} to {LONGEST:g} s; choose with seconds"
        )
    material = Material(length, [(0.0, load_image(image))], sound[: round(length * SAMPLE_RATE)])
    question = make_plan_request(material, client.server.audio_part)
    try:
        outcome = ask_with_repair(
            lambda turns: client.ask([*question, *turns], ANSWER_SCHEMA), Scene(length, tokenizer=tokenizer)
        )
    except Skip as skip:
        raise InputError(f"{client.server.address} gave no prompt: {skip}") from skip
    draft = outcome.verdict.draft
    if draft is None:
        raise InputError(
            f"{client.server.model} at {client.server.address} wrote no usable prompt in two answers: "
            + " ".join(fault.message for fault in outcome.verdict.faults)
        )
    return draft.to_prompt()
