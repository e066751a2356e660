"""A draft under review: what the page shows and keeps, and the bench of what was accepted."""

import dataclasses
import json
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import scipy.io.wavfile
from PIL import Image

pytest.importorskip("jinja2")

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.bench import BenchItem, BenchPhase, accept_bench, read_bench, write_bench
from actavatar_jax.evaluation.bench.review import write_review_page
from actavatar_jax.evaluation.bench.review.accepting import item_digest

EVIL = "</textarea><script>alert(\"x\")</script> & 'so' on"


@pytest.fixture
def draft(tmp_path):
    """The folder of four items, whose texts would like to be part of the page."""
    (tmp_path / "pictures").mkdir()
    (tmp_path / "speech").mkdir()
    Image.fromarray(np.full((64, 48, 3), 90, np.uint8)).save(tmp_path / "pictures" / "a b#.png")
    items = []
    for number in range(4):
        audio = tmp_path / "speech" / f"{number} #.wav"
        scipy.io.wavfile.write(audio, 8000, np.full(80 + number, 7, np.int16))
        phases = (
            BenchPhase(0.5, 2.0, f"She waves {number}. {EVIL}", "hands"),
            BenchPhase(2.0, 4.0, "She nods.", "head"),
        )
        items.append(
            BenchItem(
                f"{number:04d}_pointing", tmp_path / "pictures" / "a b#.png", audio, f"A woman {EVIL}.", phases,
                language="en", transcript=f"Hello {EVIL}", category="pointing", seed=number,
            )
        )  # fmt: skip
    write_bench(items, tmp_path / "draft.jsonl")
    write_review_page(items, tmp_path)
    return tmp_path


class Page(HTMLParser):
    """The cards of the page as a browser reads them, its scripts, and all addresses in it."""

    def __init__(self, path):
        super().__init__()
        self.cards, self.scripts, self.addresses, self.shown, self.open = [], [], [], [], []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.open.append(tag)
        self.addresses += [values[name] for name in ("src", "href") if name in values]
        if tag == "article":
            self.cards.append({"id": values["data-id"], "digest": values["data-digest"], "texts": []})
        elif tag == "textarea":
            self.cards[-1]["texts"].append("")
        elif tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if self.open[-1:] == ["textarea"]:
            self.cards[-1]["texts"][-1] += data
        elif self.open[-1:] == ["script"]:
            self.scripts[-1] += data
        else:
            self.shown.append(data)


def verdicts(items, *said, **changes):
    """A review as the page saves it."""
    rows = [
        {"id": item.id, "digest": item_digest(item), "verdict": verdict, "base": item.base}
        | {"actions": [phase.action for phase in item.phases]}
        for item, verdict in zip(items, said, strict=False)
    ]
    rows[0] |= changes
    return {"items": rows}


def saved(folder, review) -> Path:
    path = folder / "review.json"
    path.write_text(json.dumps(review))
    return path


def test_the_page_shows_what_texts_say_and_runs_none_of_it(draft):
    page, items = Page(draft / "review.html"), read_bench(draft / "draft.jsonl")
    assert len(page.scripts) == 1 and "alert" not in page.scripts[0]
    assert [card["id"] for card in page.cards] == [item.id for item in items]
    assert [card["digest"] for card in page.cards] == [item_digest(item) for item in items]
    for card, item in zip(page.cards, items, strict=True):
        assert card["texts"] == [item.base, *(phase.action for phase in item.phases)]
        assert item.transcript in page.shown
    pictures = [address for address in page.addresses if address.startswith("data:image/jpeg;base64,")]
    sounds = [address for address in page.addresses if address not in pictures]
    assert len(pictures) == 4 and [draft / unquote(address) for address in sounds] == [item.audio for item in items]


def browse(folder, acts, storage):
    """What became of the page after some acts in a browser that keeps `storage`."""
    page = Page(folder / "review.html")
    told = {"script": page.scripts[0], "cards": page.cards, "acts": acts, "storage": storage}
    (folder / "browse.json").write_text(json.dumps(told))
    program = Path(__file__).with_name("browser.js")
    done = subprocess.run(["node", program, folder / "browse.json"], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node to run the page's script")
def test_verdicts_and_edits_are_kept_by_the_browser_and_saved(draft):
    acts = [[0, "accepted"], [1, "accepted"], [1, 2, "She nods twice."], [2, "rejected"], [3, 0, "A man."], [3, "undo"]]
    first = browse(draft, acts, {})
    assert first["before"] == "0 accepted, 0 rejected, 4 not yet looked at"
    assert first["after"] == "2 accepted, 1 rejected, 1 not yet looked at"
    assert first["hidden"] == [True, True, True, False] and first["looks"] == ["accepted", "accepted", "rejected", ""]
    assert first["saved"]["name"] == "review.json"
    again = browse(draft, [], first["storage"])
    assert again["before"] == first["after"] and again["saved"] == first["saved"]
    (draft / "review.json").write_text(first["saved"]["text"])
    accepted = accept_bench(draft, draft / "review.json")
    assert accepted.line() == "2 accepted, 1 of them edited; 1 rejected; 1 not yet looked at"
    one, other = read_bench(draft / "bench.jsonl")
    assert one == read_bench(draft / "draft.jsonl")[0] and other.phases[1].action == "She nods twice."


def test_the_bench_has_what_was_accepted_as_it_was_edited_and_nothing_else(draft):
    items = read_bench(draft / "draft.jsonl")
    actions = ["She  waves &amp; smiles.", items[0].phases[1].action]
    review = verdicts(items, "accepted", "rejected", "accepted", actions=actions)
    accepted = accept_bench(draft, saved(draft, review))
    assert accepted.line() == "2 accepted, 1 of them edited; 1 rejected; 1 not yet looked at"
    first, third = read_bench(draft / "bench.jsonl")
    assert third == items[2] and first.audio == items[0].audio
    assert [phase.action for phase in first.phases] == ["She waves & smiles.", "She nods."]
    assert [dataclasses.replace(p, action="") for p in first.phases] == [
        dataclasses.replace(p, action="") for p in items[0].phases
    ]


def test_what_has_become_another_item_since_is_not_looked_at(draft):
    """The text of one, and the recording of another."""
    items = read_bench(draft / "draft.jsonl")
    path = saved(draft, verdicts(items, *["accepted"] * 4))
    write_bench([dataclasses.replace(items[0], transcript="Bye."), *items[1:]], draft / "draft.jsonl")
    scipy.io.wavfile.write(items[1].audio, 8000, np.zeros(99, np.int16))
    accepted = accept_bench(draft, path)
    assert accepted.unseen == 2 and [item.id for item in accepted.items] == [items[2].id, items[3].id]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"verdict": "perhaps"}, "verdict is 'perhaps', accepted is 'accepted' or 'rejected'"),
        ({"base": " "}, "0000_pointing: The prompt: the base text is empty"),
        ({"actions": ["She [0-2s] waves.", "She nods."]}, "0000_pointing: .*phase 1 holds a time stamp"),
        ({"actions": []}, "0000_pointing: there are 0 actions, accepted are 2"),
        ({"digest": "another"}, r"accepts no item of .*draft\.jsonl as it is now"),
    ],
)
def test_reviews_that_cannot_be_leave_no_bench(draft, changes, words):
    items = read_bench(draft / "draft.jsonl")
    with pytest.raises(InputError, match=words):
        accept_bench(draft, saved(draft, verdicts(items, "accepted", **changes)))
    assert not (draft / "bench.jsonl").exists()
