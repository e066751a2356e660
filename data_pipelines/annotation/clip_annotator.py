"""One clip to its file of actions and its row of the table."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from actavatar_jax.chat import Answer, ChatPool, Message
from actavatar_jax.errors import InputError, StoreError, first_line, out_of_space
from actavatar_jax.media.video import probe
from actavatar_jax.prompt import StructuredPrompt, Tokenizer
from actavatar_jax.storage import Place, fetched, named, write_json
from data_pipelines.annotation.answers import AnswerStore
from data_pipelines.annotation.dialogue import ask_with_repair
from data_pipelines.annotation.request import PROMPT_VERSION, load_material, make_annotation_request
from data_pipelines.annotation.scene import Scene
from data_pipelines.annotation.schema import ANSWER_SCHEMA, Draft
from data_pipelines.table import (
    STORE_FAILED,
    Clip,
    Skip,
    actions_path,
    answers_path,
    caption_is_lost,
    caption_path,
    clip_path,
    clip_state,
    digest,
)

LONG_GAP = 2.0  # seconds without an act that count as idle
IN_SIGHT = 0.1  # a part that is seen in a smaller share of the frames is not in the picture

Row = dict[str, Any]


@dataclass(frozen=True)
class ClipAnnotator:
    """One clip to its row; its file of actions is written on the way."""

    clip_dir: Place
    servers: ChatPool
    tokenizer: Tokenizer | None

    def __call__(self, numbered: tuple[int, Clip]) -> Row:
        """`numbered`: the clip, and a number by which servers take turns."""
        turn, clip = numbered
        row: Row = {"id": clip.id, "asked": 0, "accepted": False, "error": None, "detail": None}
        try:
            clip_state(clip, self.clip_dir)  # raises Skip where there is no clip
            restore_caption(clip, self.clip_dir)
            if _has_phases(caption_path(clip, self.clip_dir)):
                return row | {"accepted": True}  # it came with the video
            with fetched(clip_path(clip, self.clip_dir)) as video:
                return row | self._described(clip, video, turn, AnswerStore(answers_path(clip, self.clip_dir)))
        except Skip as skip:
            return row | {"error": skip.reason, "detail": skip.detail or skip.reason}
        except StoreError as error:
            return row | {"error": STORE_FAILED, "detail": str(error)}
        except OSError as error:
            if out_of_space(error):
                raise
            return row | {"error": "unreadable", "detail": first_line(error)}

    def _described(self, clip: Clip, video: Path, turn: int, answers: AnswerStore) -> Row:
        target = actions_path(clip, self.clip_dir)
        server, asked = self.servers.server(turn), 0
        transcript = _transcript(clip)
        circumstances = {
            "model": server.model,
            "seed": server.seed,
            "temperature": server.temperature,
            "prompt_version": PROMPT_VERSION,
        }
        question = digest(video, transcript, json.dumps(circumstances))
        request = cache(lambda: make_annotation_request(load_material(video), transcript, server.audio_part))

        def ask(turns: Sequence[Message]) -> Answer:
            nonlocal asked, server
            key = digest(question, json.dumps(turns))
            answer = answers.get(key)
            if answer is None:
                answer, server = self.servers.ask(turn, [*request(), *turns], ANSWER_SCHEMA)
                answers.add(key, answer, {"server": server.address, "asked": circumstances})
                asked += 1
            return answer

        scene = _scene(clip, video, self.tokenizer)
        outcome = ask_with_repair(ask, scene)
        draft, faults = outcome.verdict.draft, outcome.verdict.faults
        if draft is None:
            target.unlink(missing_ok=True)  # what an earlier run accepted
            told = {"error": faults[0].reason, "detail": " ".join(fault.message for fault in faults)}
        else:
            write_json(target, draft.to_prompt().to_dict())
            told = {"accepted": True} | _contents(draft, scene.seconds)
        told |= {
            "answers": len(outcome.answers),
            "tokens_read": sum(answer.usage.prompt_tokens for answer in outcome.answers),
            "tokens_written": sum(answer.usage.completion_tokens for answer in outcome.answers),
            "first_faults": sorted({fault.reason for fault in outcome.first_faults}),
            "repairs": list(outcome.verdict.repairs),
            "answered_by": outcome.answers[-1].model,
            "fingerprint": outcome.answers[-1].fingerprint,
        }
        return told | circumstances | {"version": question, "server": server.address, "asked": asked}


def _contents(draft: Draft, seconds: float) -> Row:
    edges = [0.0, *(time for act in draft.acts for time in (act.start, act.end)), seconds]
    gaps = [start - end for end, start in zip(edges[::2], edges[1::2], strict=True)]
    return {
        "phases": len(draft.acts),
        "idle": sum(gap for gap in gaps if gap > LONG_GAP),
        "confidence": float(draft.confidence),
        "body_parts": [act.body_part for act in draft.acts],
    }


def _scene(clip: Clip, path: Path, tokenizer: Tokenizer | None) -> Scene:
    """What the filters found out about a clip; what they did not is not checked."""
    try:
        seconds = probe(path).duration
    except InputError as error:
        raise Skip("unreadable", str(error)) from error
    profile = clip.facts.get("motion.profile")
    motion = np.array(profile, float) if profile else None  # NaN where no hand is in sight
    seen = {"hands": clip.facts.get("motion.hand_visible"), "legs": clip.facts.get("motion.leg_visible")}
    hidden = frozenset(part for part, share in seen.items() if share is not None and share < IN_SIGHT)
    return Scene(seconds, motion, hidden, tokenizer)


def _transcript(clip: Clip) -> str:
    """What a speech recogniser made of the clip, where the corpus or a step brings it."""
    texts = (clip.facts[name] for name in sorted(clip.facts) if name.rpartition(".")[2] == "transcript")
    return next((str(text) for text in texts if text), "")


def _has_phases(path: Place) -> bool:
    try:
        return path.is_file() and bool(StructuredPrompt.load(path).phases)
    except InputError as error:
        raise Skip("invalid prompt", str(error)) from error


def restore_caption(clip: Clip, clip_dir: Place) -> None:
    """Puts back a caption over which an earlier version wrote; Skip where the table does not have it."""
    if not caption_is_lost(clip, clip_dir):
        return
    caption, prepared = caption_path(clip, clip_dir), clip.facts.get("prepare.prompt")
    if clip.caption:
        write_json(caption, StructuredPrompt(clip.caption).to_dict())
    elif prepared == "brief":
        raise Skip(
            "caption lost",
            f"an earlier version wrote over {named(caption)}, and the caption is not in the table; remove "
            f"{clip.id}.mp4 beside it and run `prepare` again",
        )
    else:
        caption.unlink()
