"""A plan to an item: the model writes, the answer is checked, spoken and measured, and asked for anew if it must be."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from actavatar_jax.chat import Answer, Client, Usage
from actavatar_jax.errors import InputError, Skip
from actavatar_jax.evaluation.bench.answers import FINISHED, AskingSettings, find_answer, keep_answer
from actavatar_jax.evaluation.bench.items import BenchItem
from actavatar_jax.evaluation.bench.judge.frames import shrink
from actavatar_jax.evaluation.bench.kept import Kept, digest_file, digest_if_there
from actavatar_jax.evaluation.bench.making.plans import Plan
from actavatar_jax.evaluation.bench.making.questions import PROMPT_VERSION, SPOKEN, answer_schema, make_question
from actavatar_jax.evaluation.bench.making.speaker import Speaker
from actavatar_jax.evaluation.bench.making.texts import ItemTexts, read_texts
from actavatar_jax.media import load_image

TRIES = 3  # of an item in a run
PICTURES, SPEECH = "pictures", "speech"  # folders beside the bench


@dataclass(frozen=True)
class Written:
    """The item, or why there is none. usage: of the answers that came just now."""

    plan: Plan
    item: BenchItem | None
    problem: str
    usage: tuple[Usage, ...]


@dataclass(frozen=True)
class Writer:
    """folder: of the bench."""

    folder: Path
    settings: AskingSettings
    kept: Kept
    client: Client
    speaker: Speaker

    def write(self, plan: Plan) -> Written:
        """Answers that are kept are read first; behind them up to three are asked for.

        Raises InputError where the server cannot be asked at all.
        """
        usage, before = [], ()
        try:
            for attempt in itertools.count():
                answer = find_answer(self.kept, *question(plan, self.settings, attempt))
                if answer is None:
                    if len(usage) == TRIES:
                        raise Skip("no usable answer", before[1])
                    answer = self._ask(plan, attempt, before)
                    usage.append(answer.usage)
                try:
                    return Written(plan, self._item(plan, answer), "", tuple(usage))
                except InputError as error:
                    before = (answer.text, str(error))
        except Skip as skip:
            return Written(plan, None, f"{skip.reason}: {skip.detail}", tuple(usage))

    def _ask(self, plan: Plan, attempt: int, before: Sequence[str]) -> Answer:
        server = self.settings.server
        messages = make_question(shrink(load_image(plan.portrait)), plan, before)
        answer = self.client.ask(messages, answer_schema(len(plan.windows)), seed=attempt)
        asked = {"item": plan.id, "attempt": attempt, "temperature": server.temperature, "model": server.model}
        asked |= {"server": server.address, "prompt_version": PROMPT_VERSION}
        keep_answer(answer, asked, self.kept, *question(plan, self.settings, attempt))
        return answer

    def _item(self, plan: Plan, answer: Answer) -> BenchItem:
        """InputError where the answer cannot be used, Skip where it cannot be spoken."""
        texts = read_finished(answer, plan)
        audio = self.folder / SPEECH / f"{plan.id}.wav"
        seconds = self._speak(texts.transcript, plan.language, audio)
        if not _fits(seconds):
            shortest, longest = SPOKEN
            advice = "more words" if seconds < shortest else "fewer words"
            accepted = f"accepted are {shortest:g} to {longest:g} s, so give it {advice}"
            raise InputError(f"The transcript takes {seconds:.1f} s when it is spoken; {accepted}.")
        return BenchItem(
            plan.id,
            self.folder / PICTURES / plan.portrait.name,
            audio,
            texts.base,
            texts.phases,
            language=plan.language,
            transcript=texts.transcript,
            category=plan.category,
            seed=plan.number,
        )

    def _speak(self, text: str, language: str, audio: Path) -> float:
        """Seconds. What the same program has spoken before is not spoken again: if it fits, its wav is still there."""
        spoken = ("spoken", audio.name, self.speaker.command, language, text)
        found = self.kept.get(*spoken)
        if found is None or (_fits(found["seconds"]) and found["wav"] != digest_if_there(audio)):
            found = {"seconds": self.speaker.speak(text, language, audio), "wav": digest_file(audio)}
            self.kept.put(found, *spoken)
        return found["seconds"]


def _fits(seconds: float) -> bool:
    shortest, longest = SPOKEN
    return shortest <= seconds <= longest


def question(plan: Plan, settings: AskingSettings, attempt: int) -> list:
    """All that an answer may depend on."""
    server, windows = settings.server, [list(window) for window in plan.windows]
    asked = [plan.id, digest_file(plan.portrait), plan.category, plan.language, windows]
    return ["make", PROMPT_VERSION, server.model, server.temperature, attempt, *asked]


def read_finished(answer: Answer, plan: Plan) -> ItemTexts:
    """As `read_texts`; InputError also where the answer was cut off or refused."""
    if answer.finish not in FINISHED:
        raise InputError(f"The answer ended with {answer.finish}.")
    return read_texts(answer.text, plan)
