"""`actavatar demo`: with the shipped weights, someone they never saw says a sentence and acts on cue."""

import contextlib
import dataclasses
import logging
import math
import shlex
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.attention import text_attention
from actavatar_jax.evaluation.measures import window_frames
from actavatar_jax.evaluation.scores import Truth, score_clips
from actavatar_jax.media import FPS, Video
from actavatar_jax.pipeline import ActAvatarPipeline
from actavatar_jax.prompt import StructuredPrompt
from actavatar_jax.puppets.dataset import TEST_SEED, TRAIN_SEEDS
from actavatar_jax.puppets.judge.network import load_judge
from actavatar_jax.puppets.pictures.enlarge import enlarged
from actavatar_jax.puppets.pictures.film import draw_preview
from actavatar_jax.puppets.pictures.sheets import draw_attention, draw_sheet
from actavatar_jax.puppets.recipe import SHIPPED, sample_clip
from actavatar_jax.puppets.world.clips import PuppetClip, World, make_clip
from actavatar_jax.puppets.world.identity import Identity
from actavatar_jax.puppets.world.regions import regions
from actavatar_jax.puppets.world.script import SHORTEST
from actavatar_jax.storage import named
from actavatar_jax.weights import load_defaults

log = logging.getLogger(__name__)

OWN_VOICE = "english-us"  # of sentences given without a voice
LEVEL = 1.0  # flow time at which attention is read: pure noise, where it is decided what happens when
UNSEEN = range(TEST_SEED, TRAIN_SEEDS.start)  # seeds of presenters, sentences and prompts that no training draws


def make_demo(
    out: Path,
    *,
    say: str | None = None,
    prompt: Any = None,
    seed: int = 0,
    voice: str | None = None,
    model: Path = SHIPPED,
) -> str:
    """Puts demo.mp4 and what shows it without a player into `out`; returns timeline, files, score and what else to do.

    demo.webp is the film beside the drawn one, without sound; demo.png a sheet of both with what a judge saw, and
    attention.png the model's attention to the prompt over time.

    The presenter is that of `seed`, and so are sentence and prompt where they are not given; without a prompt, seeds
    are counted up to one with two phases. `prompt` is whatever `StructuredPrompt.coerce` takes; where it has no base
    text, the presenter's description is put there.

    Raises InputError, with nothing left behind, for an `out` that cannot be written, a missing model, a sentence that
    the voice cannot speak within the clip, actions that puppets do not know, windows outside the clip.
    """
    with deliver_folder(out) as folder:
        clip = choose_clip(world_of(model), seed, say, prompt, voice)
        judge = load_judge()
        pipeline = ActAvatarPipeline.from_pretrained(model)
        log.info("sampling %d frames and drawing pictures of them: half a minute on two cores", len(clip.frames))
        video = sample_clip(pipeline, clip)
        shares = text_attention(pipeline, video, clip.prompt, LEVEL)
        judged = judge(video.frames)

        seen = [judged.actions[:, judged.names.index(cue.action)] for cue in clip.cues]
        mouths = clip.opening, judged.opening
        Video(enlarged(video.frames), video.sound).save(folder / "demo.mp4")
        draw_preview(folder / "demo.webp", clip.frames, video.frames, clip.prompt)
        draw_sheet(folder / "demo.png", clip.frames, video.frames, clip.prompt, clip.sentence, seen, mouths)
        draw_attention(folder / "attention.png", shares, clip.prompt, len(clip.frames) / FPS, LEVEL)
    duration = len(clip.frames) / FPS
    report = score_clips(
        [judged], [Truth(clip.cues, clip.opening, (video.frames, clip.frames), regions(clip)._asdict())]
    )
    return (
        f"{clip.prompt.timeline(duration)}\n"
        f"says ({clip.voice}): {clip.sentence}\n\n"
        f"{files_of(out)}\n\n"
        f"score: {report.line()}\n\n"
        f"{what_next(model, duration)}"
    )


def world_of(model: Path) -> World:
    """The world whose clips a model folder was made for; InputError if there is none."""
    if not (model / "model_index.json").is_file():
        raise InputError(
            f"There is no puppet model {model}; train one and put it there with "
            "`python launch/puppets.py --config configs/puppets.py --workdir runs/puppets --ship`."
        )
    world = load_defaults(model).world
    if world is None:
        raise InputError(
            f"{model} does not say of which world of puppets it is: it is none of theirs, or was trained by an older "
            "version; train it again with `python launch/puppets.py`."
        )
    return World.from_dict(world)


def choose_clip(world: World, seed: int, say: str | None, prompt: Any, voice: str | None) -> PuppetClip:
    """The drawn clip that the model has to match, without having seen its presenter; see `make_demo`."""
    if seed not in UNSEEN:
        raise InputError(f"The seed is {seed}; accepted is {UNSEEN.start} to {UNSEEN.stop - 1}, others are trained on.")
    voice = OWN_VOICE if voice is None and say is not None else voice
    if prompt is not None:
        return make_clip(seed, world, sentence=say, prompt=read_prompt(world, prompt, seed), voice=voice)
    phases = min(2, int(world.frames / FPS / SHORTEST))
    clips = (make_clip(n, world, sentence=say, voice=voice) for n in chain(range(seed, UNSEEN.stop), range(seed)))
    return next(clip for clip in clips if len(clip.cues) == phases)


def read_prompt(world: World, prompt: Any, seed: int) -> StructuredPrompt:
    """A prompt from outside, with a base; what of it does not fit the clip beyond this is for `make_clip` to refuse."""
    prompt = StructuredPrompt.coerce(prompt, world.frames / FPS)
    if len(prompt.phases) > world.max_phases:
        raise InputError(f"The prompt has {len(prompt.phases)} phases; puppets take 1 to {world.max_phases}.")
    if prompt.phases and not prompt.base:
        described = Identity.from_seed(seed).describe(np.random.default_rng(seed))
        prompt = dataclasses.replace(prompt, base=described)
    prompt.check(duration=world.frames / FPS)
    for phase in prompt.phases:
        window_frames((phase.start, phase.end), world.frames)
    return prompt


def files_of(out: Path) -> str:
    """The files of the demo, one a line."""
    about = {
        "demo.mp4": "the film, with sound",
        "demo.webp": "the same beside the drawn one, for pages without a player",
        "demo.png": "frames of both over the timeline, and what a judge saw",
        "attention.png": "which part of the prompt the model looks at when",
    }
    return "\n".join(f"{out / name}  {words}" for name, words in about.items())


def what_next(model: Path, duration: float) -> str:
    """Commands to go on with: three phases, a third of the clip each, and scores."""
    own = "" if model == SHIPPED else f" --model {shlex.quote(str(model))}"
    third = math.floor(10 * duration / 3) / 10
    actions = ("Waves with the left hand.", "Nods the head.", "Points up.")
    phases = " ".join(f"[{k * third:g}-{(k + 1) * third:g}s] {action}" for k, action in enumerate(actions))
    return (
        "next, with words of your own, and for the scores of more clips:\n"
        f'  actavatar demo{own} --seed 7 --say "Good morning." --prompt "{phases}"\n'
        f"  actavatar evaluate puppets --model {shlex.quote(str(model))} --items 16"
    )


@contextlib.contextmanager
def deliver_folder(out: Path) -> Iterator[Path]:
    """A temporary folder, made before any work; its files move into `out` when the block ends without an error.

    InputError if `out` cannot be written; neither then nor after another error is anything left behind.
    """
    with contextlib.ExitStack() as stack:
        with _writing(out):
            place = next(path for path in (out, *out.absolute().parents) if path.exists())
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".partial-", dir=place)))
        yield folder
        with _writing(out):
            out.mkdir(parents=True, exist_ok=True)
            for file in folder.iterdir():
                file.replace(out / file.name)


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"The folder {named(out)} cannot be written ({error.strerror}); give one that can be."
        ) from error
