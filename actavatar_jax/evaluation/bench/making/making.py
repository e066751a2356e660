"""A new bench: portraits and a program that speaks to a draft, every item of which somebody is to look at."""

import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from actavatar_jax.chat import Usage, open_client
from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.bench.answers import FRAME_TOKENS, LETTERS, AskingSettings, Estimate, find_answer
from actavatar_jax.evaluation.bench.items import BenchItem, write_bench
from actavatar_jax.evaluation.bench.kept import Kept
from actavatar_jax.evaluation.bench.making.plans import Composition, Plan
from actavatar_jax.evaluation.bench.making.questions import task_text
from actavatar_jax.evaluation.bench.making.speaker import Speaker
from actavatar_jax.evaluation.bench.making.writing import PICTURES, Writer, Written, question, read_finished
from actavatar_jax.evaluation.bench.review import DRAFT, write_review_page
from actavatar_jax.evaluation.bench.templates import check_templates
from actavatar_jax.media import load_image
from actavatar_jax.storage import locked_folder, named, refusal, replaced_file

KEPT = "kept"  # below the bench: what was answered and spoken, so that a second run asks for what is missing
SUFFIXES = (".png", ".jpg", ".jpeg")
ANSWER_TOKENS, ACTION_TOKENS = 90, 35  # of an answer, and of each action in it


@dataclass(frozen=True)
class MadeBench:
    """The items that could be made, and for the others, by their ids, why not. usage: of what was asked just now."""

    items: list[BenchItem]
    problems: dict[str, str]
    usage: Usage
    cost: float

    def table(self) -> str:
        planned = len(self.items) + len(self.problems)
        lines = [f"{len(self.items)} of {planned} items made"]
        lines += [f"  {name}: {problem}" for name, problem in self.problems.items()]
        cost = f", {self.cost:,.2f} at the prices given" if self.cost else ""
        lines.append(f"{self.usage.prompt_tokens:,} tokens read and {self.usage.completion_tokens:,} written{cost}")
        return "\n".join(lines)

    def check(self) -> None:
        """InputError where items are missing, so that a command does not end with code 0."""
        if self.problems:
            told = [f"{name}: {problem}" for name, problem in self.problems.items()]
            planned = len(self.items) + len(told)
            raise refusal(f"{len(told)} of {planned} items could not be made; run again to ask for them anew:", told)


def make_bench(
    portraits: str | Path,
    folder: str | Path,
    speaker: Speaker,
    settings: AskingSettings,
    composition: Composition,
    *,
    progress: bool = True,
) -> MadeBench:
    """Writes `draft.jsonl` and `review.html` into `folder`, with `pictures` and `speech` beside them.

    What the model answers is kept in `folder/kept`: a second run asks for what is missing. Where no item can be made,
    nothing is written. See `Composition` for what is decided without it.

    Raises:
      InputError: there is no portrait, or one cannot be read; the server cannot be asked at all; the program that
        speaks is not told of the language though there are several; another process writes into `folder`.
    """
    check_templates()
    folder, plans = Path(folder), _plans(portraits, speaker, composition)
    folder.mkdir(parents=True, exist_ok=True)
    with locked_folder(folder), open_client(settings.server) as client:
        writer = Writer(folder, settings, Kept(folder / KEPT), client, speaker)
        with tqdm(total=len(plans), desc="make", unit="item", disable=not progress) as bar:
            written = {}
            for one in _written(writer, plans):
                written[one.plan.number] = one
                bar.update()
        made = [written[plan.number] for plan in plans]
        items = [one.item for one in made if one.item is not None]
        if items:
            _copy_pictures([one.plan for one in made if one.item is not None], folder)
            write_bench(items, folder / DRAFT)
            write_review_page(items, folder)
    usages = [usage for one in made for usage in one.usage]
    usage = Usage(sum(u.prompt_tokens for u in usages), sum(u.completion_tokens for u in usages))
    problems = {one.plan.id: one.problem for one in made if one.item is None}
    return MadeBench(items, problems, usage, settings.cost(usage))


def estimate_making(
    portraits: str | Path,
    folder: str | Path,
    speaker: Speaker,
    settings: AskingSettings,
    composition: Composition,
) -> Estimate:
    """What the model would be asked and cost, without asking it: answers that `folder` keeps cost nothing.

    Raises InputError as `make_bench`.
    """
    plans, kept = _plans(portraits, speaker, composition), Kept(Path(folder) / KEPT)
    left = [plan for plan in plans if not _answered(plan, settings, kept)]
    read = sum(FRAME_TOKENS + len(task_text(plan)) // LETTERS for plan in left)
    usage = Usage(read, sum(ANSWER_TOKENS + ACTION_TOKENS * len(plan.windows) for plan in left))
    return Estimate(len(plans), len(plans) - len(left), usage, settings.cost(usage))


def _plans(portraits: str | Path, speaker: Speaker, composition: Composition) -> list[Plan]:
    if len(composition.languages) > 1 and "language" not in speaker.places:
        raise InputError("The program that speaks is to speak several languages; put {language} into its command.")
    return composition.plan(_find_portraits(Path(portraits)))


def _find_portraits(folder: Path) -> list[Path]:
    """All of them, sorted by name; each can be read."""
    if not folder.is_dir():
        raise InputError(f"{named(folder)} is no folder; accepted is one of portraits, .png or .jpg.")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != ".")
    if not found:
        raise InputError(f"{named(folder)} has no portrait; accepted are .png and .jpg files.")
    problems = []
    for path in found:
        try:
            path.name.encode()  # it stands in the bench
            load_image(path)
        except UnicodeEncodeError:
            problems.append(f"the name of {named(path.name)} is not UTF-8")
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise refusal(f"The portraits in {named(folder)} have problems:", problems)
    return found


def _written(writer: Writer, plans: Sequence[Plan]) -> Iterator[Written]:
    """As they are done, in no order."""
    pool = ThreadPoolExecutor(writer.settings.parallel)
    try:
        for future in as_completed([pool.submit(writer.write, plan) for plan in plans]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _copy_pictures(plans: Sequence[Plan], folder: Path) -> None:
    for portrait in sorted({plan.portrait for plan in plans}):
        with replaced_file(folder / PICTURES / portrait.name) as partial:
            shutil.copyfile(portrait, partial)


def _answered(plan: Plan, settings: AskingSettings, kept: Kept) -> bool:
    """Whether there is an answer that reads well; how long it takes to say it is only known when it is spoken."""
    attempt = 0
    while (answer := find_answer(kept, *question(plan, settings, attempt))) is not None:
        try:
            read_finished(answer, plan)
        except InputError:
            attempt += 1
        else:
            return True
    return False
