"""One clip to its prompt file and its row of the table."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from actavatar_jax.chat import Answer, ChatClient, Message
from actavatar_jax.errors import InputError, first_line, out_of_space
from actavatar_jax.media.video import probe
from actavatar_jax.prompt import StructuredPrompt, Tokenizer
from actavatar_jax.storage import write_json
from data_pipelines.annotation.answers import AnswerStore
from data_pipelines.annotation.dialogue import ask_with_repair
from data_pipelines.annotation.request import PROMPT_VERSION, load_material, make_annotation_request
from data_pipelines.annotation.scene import Scene
from data_pipelines.annotation.schema import ANSWER_SCHEMA, Draft
from data_pipelines.table import Clip, Skip, clip_path, clip_state, digest

LONG_GAP = 2.0  # seconds without an act that count as idle
IN_SIGHT = 0.1  # a part that is seen in a smaller share of the frames is not in the picture

Row = dict[str, Any]


@dataclass(frozen=True)
class ClipAnnotator:
    """One clip to its row; its prompt file is written on the way."""

    clip_dir: Path
    client: ChatClient
    tokenizer: Tokenizer | None

    def __call__(self, clip: Clip) -> Row:
        row: Row = {"id": clip.id, "asked": 0, "accepted": False, "error": None, "detail": None}
        try:
            clip_state(clip, self.clip_dir)  # raises Skip where there is no clip
            answers = AnswerStore(self.clip_dir / "answers" / f"{clip.id}.jsonl")
            target = clip_path(clip, self.clip_dir).with_suffix(".json")
            if not answers.path.is_file() and _has_phases(target):
                return row | {"accepted": True}  # it came with the video
            return row | self._described(clip, answers, target)
        except Skip as skip:
            return row | {"error": skip.reason, "detail": skip.detail or skip.reason}
        except OSError as error:
            if out_of_space(error):
                raise
            return row | {"error": "unreadable", "detail": first_line(error)}

    def _described(self, clip: Clip, answers: AnswerStore, target: Path) -> Row:
        path, server, asked = clip_path(clip, self.clip_dir), self.client.server, 0
        transcript = _transcript(clip)
        circumstances = {
            "model": server.model,
            "seed": server.seed,
            "temperature": server.temperature,
            "prompt_version": PROMPT_VERSION,
        }
        question = digest(path, transcript, json.dumps(circumstances))
        request = cache(lambda: make_annotation_request(load_material(path), transcript, server.audio_part))

        def ask(turns: Sequence[Message]) -> Answer:
            nonlocal asked
            key = digest(question, json.dumps(turns))
            answer = answers.get(key)
            if answer is None:
                answer = self.client.ask([*request(), *turns], ANSWER_SCHEMA)
                answers.add(key, answer, {"server": server.address, "asked": circumstances})
                asked += 1
            return answer

        scene = _scene(clip, path, self.tokenizer)
        outcome = ask_with_repair(ask, scene)
        draft, faults = outcome.verdict.draft, outcome.verdict.faults
        if draft is None:
            _withdraw(clip, target)
            told = {"error": faults[0].reason, "detail": " ".join(fault.message for fault in faults)}
        else:
            write_json(target, draft.to_prompt().to_dict())
            told = {"accepted": True} | _contents(draft, scene.seconds)
        told |= {
            "answers": len(outcome.answers),
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
    motion = np.nan_to_num(np.array(profile, float)) if profile else None  # no hands in sight: no motion of hands
    seen = {"hands": clip.facts.get("motion.hand_visible"), "legs": clip.facts.get("motion.leg_visible")}
    hidden = frozenset(part for part, share in seen.items() if share is not None and share < IN_SIGHT)
    return Scene(seconds, motion, hidden, tokenizer)


def _transcript(clip: Clip) -> str:
    """What a speech recogniser made of the clip, where the corpus or a step brings it."""
    texts = (clip.facts[name] for name in sorted(clip.facts) if name.rpartition(".")[2] == "transcript")
    return next((str(text) for text in texts if text), "")


def _has_phases(path: Path) -> bool:
    try:
        return path.is_file() and bool(StructuredPrompt.load(path).phases)
    except InputError as error:
        raise Skip("invalid prompt", str(error)) from error


def _withdraw(clip: Clip, target: Path) -> None:
    """Puts the caption back in the place of a prompt that an earlier run accepted."""
    if _has_phases(target):
        if clip.caption:
            write_json(target, StructuredPrompt(clip.caption).to_dict())
        else:
            target.unlink()
