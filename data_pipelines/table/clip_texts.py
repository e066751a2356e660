"""The two texts of a prepared clip, which lie beside each other: none is ever written over the other.

<clip_dir>/clips/<xx>/<id>.json             what came with the clip: a caption, or a prompt with actions
<clip_dir>/clips/<xx>/<id>.actions.json     what `annotate` saw happening
<clip_dir>/answers/<xx>/<id>.jsonl          and the raw answers that this was made of
"""

from actavatar_jax.errors import InputError
from actavatar_jax.prompt import StructuredPrompt
from actavatar_jax.storage import Place, StorePath
from data_pipelines.table.clip_files import clip_path, shelved
from data_pipelines.table.table import Clip


def caption_path(clip: Clip, clip_dir: Place) -> Place:
    """Where `prepare` puts what came with the clip."""
    return clip_path(clip, clip_dir).with_suffix(".json")


def actions_path(clip: Clip, clip_dir: Place) -> Place:
    """Where `annotate` puts what happens in the clip."""
    return clip_path(clip, clip_dir).with_suffix(".actions.json")


def answers_path(clip: Clip, clip_dir: Place) -> Place:
    """Where `annotate` keeps what was answered about the clip."""
    return shelved(clip_dir / "answers", clip.id, ".jsonl")


def caption_is_lost(clip: Clip, clip_dir: Place) -> bool:
    """Whether `annotate` wrote over the clip's caption, as it did before there were two files.

    Then there are answers, no actions, and phases where `prepare` put none. Those versions knew no stores.
    """
    if isinstance(clip_dir, StorePath):
        return False
    caption, came_with_phases = caption_path(clip, clip_dir), clip.facts.get("prepare.prompt") == "structured"
    if came_with_phases or actions_path(clip, clip_dir).is_file() or not answers_path(clip, clip_dir).is_file():
        return False
    try:
        return caption.is_file() and bool(StructuredPrompt.load(caption).phases)
    except InputError:
        return False
