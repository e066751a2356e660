"""Clips to the judge's verdicts: several runs of each, every raw answer kept and never asked for twice."""

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

from actavatar_jax.chat import Answer, Client, Message, Usage
from actavatar_jax.checks import checked, whole
from actavatar_jax.errors import InputError, Skip
from actavatar_jax.evaluation.bench.answers import (
    FINISHED,
    FRAME_TOKENS,
    LETTERS,
    AskingSettings,
    Estimate,
    find_answer,
    keep_answer,
)
from actavatar_jax.evaluation.bench.clips import BenchClip
from actavatar_jax.evaluation.bench.judge.frames import sample_frames, shown_frames, shrink
from actavatar_jax.evaluation.bench.judge.questions import PROMPT_VERSION, answer_schema, make_question, task_text
from actavatar_jax.evaluation.bench.judge.verdicts import PhaseVerdict, read_verdicts
from actavatar_jax.evaluation.bench.kept import Kept, digest_if_there
from actavatar_jax.media import load_image

RETRIES = 3  # of a run, each with a seed of its own, before it counts as missing
SEED_STEP = 1000  # from an attempt to the next; seeds of runs are 0, 1, 2, ...
ANSWER_TOKENS, PHASE_TOKENS = 40, 130  # of an answer, and of each phase in it


@dataclass(frozen=True)
class JudgeSettings(AskingSettings):
    """runs: of each clip."""

    runs: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        checked("number of runs", self.runs, int, whole(1, SEED_STEP))


@dataclass(frozen=True)
class Run:
    """Verdicts on all phases, or why there are none. usage: of all its answers. asked: how many came just now."""

    clip: str
    number: int
    verdicts: tuple[PhaseVerdict, ...] | None
    reason: str
    usage: tuple[Usage, ...]
    asked: int


def estimate(clips: Sequence[BenchClip], settings: JudgeSettings, kept: Kept) -> Estimate:
    """Without asking anything."""
    calls = done = read = write = 0
    for clip in clips:
        ask = _Asking(clip, settings, kept, None)
        for run in range(settings.runs):
            calls += 1
            if ask.kept.get(*ask.question(run)) is not None:
                done += 1
                continue
            pictures = len(shown_frames(clip.frames, run)) + 1
            read += pictures * FRAME_TOKENS + len(task_text(clip.item.phases, clip.item.duration)) // LETTERS
            write += ANSWER_TOKENS + PHASE_TOKENS * len(clip.item.phases)
    usage = Usage(read, write)
    return Estimate(calls, done, usage, settings.cost(usage))


def ask_judge(
    clips: Sequence[BenchClip], settings: JudgeSettings, client: Client, kept: Kept, step: Callable[[], object]
) -> Iterator[Run]:
    """All runs of all clips as they are done, in an order that has nothing to do with the clips'; `step` after a clip.

    Raises:
      InputError: the server cannot be asked at all; what it has answered until then is kept.
    """
    tasks = [(clip, run) for clip in random.Random(0).sample(clips, len(clips)) for run in range(settings.runs)]
    left = {clip.item.id: settings.runs for clip in clips}
    pool = ThreadPoolExecutor(settings.parallel)
    try:
        futures = [pool.submit(_Asking(clip, settings, kept, client).run, run) for clip, run in tasks]
        for future in as_completed(futures):
            run = future.result()
            left[run.clip] -= 1
            if not left[run.clip]:
                step()
            yield run
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _Asking:
    """One clip and the judge. A question is known by all that the answer may depend on."""

    clip: BenchClip
    settings: JudgeSettings
    kept: Kept
    client: Client | None

    def question(self, run: int, attempt: int = 0) -> list:
        server, item = self.settings.server, self.clip.item
        phases = [[phase.start, phase.end, phase.action] for phase in item.phases]
        asked = [self.clip.digest, digest_if_there(item.image), item.duration, phases]
        return ["judge", PROMPT_VERSION, server.model, server.temperature, run + SEED_STEP * attempt, *asked]

    def run(self, run: int) -> Run:
        usage, asked, reason = [], 0, ""
        for attempt in range(1 + RETRIES):
            try:
                answer, new = self._answer(run, attempt)
            except Skip as skip:  # the server's own attempts are over, or there is nothing to ask with
                reason = f"{skip.reason}: {skip.detail}"
                break
            usage, asked = [*usage, answer.usage], asked + new
            try:
                return Run(self.clip.item.id, run, self._read(answer), "", tuple(usage), asked)
            except InputError as error:
                reason = f"no usable answer: {error}"
        return Run(self.clip.item.id, run, None, reason, tuple(usage), asked)

    def _answer(self, run: int, attempt: int) -> tuple[Answer, bool]:
        """The answer, and whether it came just now. Raises Skip and InputError as `Client.ask`."""
        question = self.question(run, attempt)
        if (found := find_answer(self.kept, *question)) is not None:
            return found, False
        server, item, seed = self.settings.server, self.clip.item, run + SEED_STEP * attempt
        answer = self.client.ask(self._messages(run), answer_schema(len(item.phases)), seed=seed)
        asked = {"clip": item.id, "run": run, "attempt": attempt, "seed": seed, "temperature": server.temperature}
        asked |= {"model": server.model, "server": server.address, "prompt_version": PROMPT_VERSION}
        keep_answer(answer, asked, self.kept, *question)
        return answer, True

    def _messages(self, run: int) -> list[Message]:
        item = self.clip.item
        try:
            frames = sample_frames(self.clip.path, self.clip.frames, run)
            return make_question(shrink(load_image(item.image)), frames, item.phases, item.duration)
        except InputError as error:
            raise Skip("no question", str(error)) from error

    def _read(self, answer: Answer) -> tuple[PhaseVerdict, ...]:
        if answer.finish not in FINISHED:
            raise InputError(f"the answer ended with {answer.finish}")
        return read_verdicts(answer.text, self.clip.item)
