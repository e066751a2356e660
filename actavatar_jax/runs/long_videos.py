"""A long video on its way: every finished part is on the disk, and made once.

`<out>.parts/` has an mp4 of each part, which can be looked at, and what the next one has to know. When the last part is
there they are joined, and the folder goes.
"""

import contextlib
import hashlib
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from actavatar_jax.diffusion import Step
from actavatar_jax.errors import InputError
from actavatar_jax.media import Sound, Video, join_videos, load_image, load_sound
from actavatar_jax.parallel import agreed
from actavatar_jax.pipeline import ActAvatarPipeline, LongVideo, Tail, make_parts, prompt_of_long, sampling_of
from actavatar_jax.storage import locked_folder, named, read_text, replaced_file, write_text

log = logging.getLogger(__name__)


def make_long_video(
    pipeline: ActAvatarPipeline,
    image: str,
    audio: str,
    prompt: Any,
    out: str,
    long: LongVideo,
    *,
    made_by: Mapping[str, Any] | None = None,
    callback: Callable[[Step], None] | None = None,
    **options: Any,
) -> None:
    """Writes the mp4 `out`; goes on behind the parts that an earlier call has finished.

    Over several processes each of them calls this alike and sees the folder of `out`; the first one writes.

    Args:
      made_by: what else tells videos apart: the model, and how it was loaded.
      callback, options: as of a call of the pipeline.

    Raises:
      InputError: also where the parts that are there are not those of this video, or somebody else is making them.
    """
    portrait, speech = load_image(image), load_sound(audio)
    rate = sampling_of(pipeline, options).rate
    prompt = prompt_of_long(prompt, long.frames(speech, rate), rate)
    asked = _digest(portrait, speech, [prompt.to_dict(), long, sorted(options.items()), made_by])
    folder, writes = Path(f"{out}.parts"), jax.process_index() == 0
    with _held(folder, asked):
        made = int(multihost_utils.broadcast_one_to_all(np.asarray(_count_finished(folder))))
        if made:
            log.info("%d parts of %s are made already", made, named(out))
        with agreed():
            tail = _load_tail(folder, made - 1) if made else None
        parts = make_parts(pipeline, portrait, speech, prompt, long, made=made, tail=tail, callback=callback, **options)
        for part, frames, tail in parts:
            with agreed():
                if writes:
                    Video(frames, fps=rate).save(_video(folder, part.number))
                    _save_tail(folder, part.number, tail)
            log.info("%s: %.1f s are made", out, part.end / rate)
        with agreed():
            if writes:
                join_videos(out, [_video(folder, number) for number in range(_count_finished(folder))], speech)
                shutil.rmtree(folder)


def _digest(portrait: np.ndarray, speech: Sound, rest: list[Any]) -> str:
    digest = hashlib.sha256(repr([portrait.shape, speech.rate, speech.samples.shape, rest]).encode())
    for array in (portrait, speech.samples):
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


@contextlib.contextmanager
def _held(folder: Path, asked: str) -> Iterator[None]:
    """The first process has the folder for all of them; InputError where it is that of another video."""
    with contextlib.ExitStack() as stack:
        with agreed():
            if jax.process_index() == 0:
                folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked_folder(folder))
                note = folder / "video.sha256"
                if not note.exists():
                    write_text(note, asked)
                elif read_text(note) != asked:
                    raise InputError(
                        f"{named(folder)} has parts of a video of other inputs, options or weights; remove it, or "
                        "give another name for the video."
                    )
        yield


def _count_finished(folder: Path) -> int:
    number = 0
    while _tail(folder, number).exists():
        number += 1
    return number


def _video(folder: Path, number: int) -> Path:
    return folder / f"{number:04d}.mp4"


def _tail(folder: Path, number: int) -> Path:
    """Written last: its part is finished."""
    return folder / f"{number:04d}.npz"


def _save_tail(folder: Path, number: int, tail: Tail) -> None:
    with replaced_file(_tail(folder, number)) as partial, partial.open("wb") as file:
        np.savez(file, frames=tail.frames, colours=tail.colours)


def _load_tail(folder: Path, number: int) -> Tail:
    try:
        with np.load(_tail(folder, number), allow_pickle=False) as stored:
            return Tail(stored["frames"], stored["colours"])
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{named(_tail(folder, number))} is damaged; remove {named(folder)} to begin anew.") from error
