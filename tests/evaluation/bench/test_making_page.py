"""A bench made, reviewed and handed on by the commands of docs/evaluation.md."""

import json
import os
import re
import shlex
import sys
from pathlib import Path

import pytest

pytest.importorskip("httpx2")
pytest.importorskip("jinja2")

from actavatar_jax.evaluation.bench import read_bench
from actavatar_jax.evaluation.bench.making import CATEGORIES
from actavatar_jax.evaluation.bench.review.accepting import item_digest
from tests.commands import actavatar, refused
from tests.data.chat_server import ChatServer, says
from tests.evaluation.bench.making_bench import SPEAKS, make_portraits, task_of, writes
from tests.evaluation.bench.test_review import verdicts

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "evaluation.md").read_text()
SECTION = PAGE.partition("## A bench of your own")[2].partition("\n## ")[0]


def commands():
    blocks = re.findall(r"```bash\n(.*?)```", SECTION.partition("### HDTF")[0], re.S)
    return [shlex.split(line)[1:] for block in blocks for line in block.replace("\\\n", " ").splitlines()]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """What the commands name, in the current folder: portraits, and a program called espeak-ng."""
    monkeypatch.chdir(tmp_path)
    make_portraits(tmp_path / "portraits")
    program = tmp_path / "bin" / "espeak-ng"
    program.parent.mkdir()
    takes = "import sys\n_, v, language, w, out, dashes, text = sys.argv\nassert (v, w, dashes) == ('-v', '-w', '--')\n"
    program.write_text(f"#!{sys.executable} -S\n{takes}sys.argv = ['', text, language, out]\n{SPEAKS}")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def test_the_commands_of_the_page(here, capsys):
    estimate, make, accept, jobs = commands()
    with ChatServer(writes) as server:
        for command in (estimate, make):
            command[command.index("--server") + 1] = server.url
            command[command.index("--items") + 1] = "8"
        assert actavatar(*estimate) == 0
        assert server.requests == [] and not Path("bench").exists()
        assert "model: 8 calls, 0 answered already; the others: about " in capsys.readouterr().out
        assert actavatar(*make) == 0
        assert len(server.requests) == 8 and {request["temperature"] for request in server.requests} == {0.7}
        assert actavatar(*estimate) == 0
        assert "8 calls, 8 answered already; the others: about 0 tokens" in capsys.readouterr().out
    draft = read_bench("bench/draft.jsonl")
    assert [item.category for item in draft] == list(CATEGORIES) and {item.language for item in draft} == {"en", "de"}
    assert Path("bench/review.html").stat().st_size > 5_000
    Path("review.json").write_text(json.dumps(verdicts(draft, "accepted", "rejected")))
    assert actavatar(*accept) == 0
    assert "1 accepted, 0 of them edited; 1 rejected; 6 not yet looked at" in capsys.readouterr().out
    assert actavatar(*jobs) == 0
    (job,) = map(json.loads, Path("jobs.jsonl").read_text().splitlines())
    assert job["prompt"] == draft[0].prompt.to_dict() and job["num_frames"] == 125
    assert item_digest(draft[0]) == json.loads(Path("review.json").read_text())["items"][0]["digest"]


def test_items_that_fail_are_told_and_the_command_ends_with_a_code(here, capsys):
    _, make, *_ = commands()

    def script(request, number):
        return says("No.") if "kind: pointing." in task_of(request) else writes(request, number)

    with ChatServer(script) as server:
        make[make.index("--server") + 1] = server.url
        make[make.index("--items") + 1] = "3"
        refused(
            capsys, "1 of 3 items could not be made; run again to ask for them anew: 0002_pointing: no usable", *make
        )
    assert len(read_bench("bench/draft.jsonl")) == 2


def test_the_page_says_what_is_decided():
    assert all(category in " ".join(SECTION.split()) for category in CATEGORIES)
