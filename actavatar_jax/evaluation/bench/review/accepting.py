"""What a person found about the items of a draft, and the bench of those that were accepted."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.bench.items import BenchItem, read_bench, write_bench
from actavatar_jax.evaluation.bench.kept import digest_if_there, digest_text
from actavatar_jax.storage import named, read_json, refusal

DRAFT, BENCH_FILE = "draft.jsonl", "bench.jsonl"


@dataclass(frozen=True)
class Accepted:
    """The items of the bench, so many of them edited; and how many others were rejected, or not looked at."""

    items: list[BenchItem]
    edited: int
    rejected: int
    unseen: int

    def line(self) -> str:
        accepted = f"{len(self.items)} accepted, {self.edited} of them edited"
        return f"{accepted}; {self.rejected} rejected; {self.unseen} not yet looked at"


@dataclass(frozen=True)
class _Verdict:
    id: str
    digest: str
    verdict: Literal["accepted", "rejected"]
    base: str
    actions: list[str]


@dataclass(frozen=True)
class _Review:
    items: list[_Verdict]


def accept_bench(folder: str | Path, review: str | Path) -> Accepted:
    """Writes `bench.jsonl` of the items of `draft.jsonl` that were accepted, with the texts as they were edited.

    It has these items and no others: a verdict on an item that has become another one since, in its texts, its picture
    or its recording, counts as none.

    Raises:
      InputError: a file cannot be read, nothing was accepted, or a prompt cannot be as it was edited.
    """
    draft, verdicts = Path(folder) / DRAFT, read_json(review, _Review).items
    found = {verdict.digest: verdict for verdict in verdicts}
    accepted, problems, edited, rejected, unseen = [], [], 0, 0, 0
    for item in read_bench(draft):
        verdict = found.get(item_digest(item))
        if verdict is None:
            unseen += 1
        elif verdict.verdict == "rejected":
            rejected += 1
        else:
            try:
                accepted.append(_edited(item, verdict.base, verdict.actions))
                edited += accepted[-1] != item
            except InputError as error:
                problems.append(f"{item.id}: {error}")
    if problems:
        raise refusal(f"The review {named(review)} has problems:", problems)
    if not accepted:
        raise InputError(f"The review {named(review)} accepts no item of {named(draft)} as it is now.")
    write_bench(accepted, draft.with_name(BENCH_FILE))
    return Accepted(accepted, edited, rejected, unseen)


def item_digest(item: BenchItem) -> str:
    """Of all that a person sees and hears of an item."""
    row = dataclasses.asdict(item) | {name: digest_if_there(getattr(item, name)) for name in ("image", "audio")}
    return digest_text(json.dumps(row))


def _edited(item: BenchItem, base: str, actions: Sequence[str]) -> BenchItem:
    if len(actions) != len(item.phases):
        raise InputError(f"there are {len(actions)} actions, accepted are {len(item.phases)} as in the draft")
    phases = [dataclasses.replace(phase, action=text) for phase, text in zip(item.phases, actions, strict=True)]
    prompt = dataclasses.replace(item, base=base, phases=tuple(phases)).prompt
    prompt.check(item.duration)
    clean = [dataclasses.replace(old, action=new.action) for old, new in zip(phases, prompt.phases, strict=True)]
    return dataclasses.replace(item, base=prompt.base, phases=tuple(clean))
