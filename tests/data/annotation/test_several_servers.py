"""Several servers of one model: clips go to them in turn, and the others go on where one falls silent."""

import contextlib
import json
import socket

import pytest

from actavatar_jax.errors import InputError
from data_pipelines.annotation import ChatClient, Server, annotate_clips
from data_pipelines.table import shelved
from tests.commands import actavatar
from tests.data.annotation.clip_folders import make_folder, rows
from tests.data.chat_server import ChatServer, Reply, says_json


@pytest.fixture
def folder(tmp_path):
    return make_folder(tmp_path, {f"c{k}": {} for k in range(6)})


@pytest.fixture
def nobody():
    """An address at which nobody answers."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}/v1"


def run(folder, *urls, parallel=1, **settings):
    settings = {"backoff": 0.0, "attempts": 1} | settings
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(ChatClient(Server(url, "omni", **settings))) for url in urls]
        return annotate_clips(folder, *clients, parallel=parallel, progress=False)


def with_usage(_, number):
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    return Reply(body=json.dumps(json.loads(says_json().body) | {"usage": usage}).encode())


def test_the_command_gives_clips_to_its_servers_in_turn_and_sums_their_tokens(folder, capsys):
    with ChatServer(with_usage) as one, ChatServer(with_usage) as two:
        assert actavatar("annotate", folder, "--server", one.url, "--server", two.url, "--model", "omni") == 0
        assert len(one.requests) == len(two.requests) == 3
    assert "tokens: 600 read (100 a clip) and 60 written (10 a clip)" in capsys.readouterr().out
    stored = {name: row["annotate.server"] for name, row in rows(folder).items()}
    assert stored == {f"c{k}": (one, two)[k % 2].url for k in range(6)}
    for name, url in stored.items():
        line = json.loads(shelved(folder / "answers", name, ".jsonl").read_text().split("\n")[1])
        assert line["server"] == url


def test_a_silent_server_is_given_up_and_the_others_take_its_clips(folder, nobody, monkeypatch, caplog):
    monkeypatch.setattr("actavatar_jax.chat.attempts.GIVE_UP", 2)
    with ChatServer(lambda *_: says_json()) as server:
        report = run(folder, nobody, server.url)
        assert len(server.requests) == 5
        assert report.counts() == {"made": 5, "skipped: no answer": 1}  # before it was known to be silent
        assert "the others go on" in caplog.text and caplog.text.count("is given up") == 1
        assert rows(folder)["c2"]["annotate.server"] == rows(folder)["c4"]["annotate.server"] == server.url
        assert run(folder, server.url).counts() == {"kept": 5, "made": 1}


def test_the_silence_of_the_last_server_ends_the_run(folder, nobody, monkeypatch):
    monkeypatch.setattr("actavatar_jax.chat.attempts.GIVE_UP", 2)
    with (
        ChatServer(lambda _, number: says_json() if number < 1 else Reply(500)) as server,
        pytest.raises(InputError, match=f"{server.url} left 2 requests in a row without an answer"),
    ):
        run(folder, nobody, server.url)
    assert len(list((folder / "answers").rglob("*.jsonl"))) == 1


def test_clips_of_a_server_that_refuses_everything_go_to_another(folder, monkeypatch):
    monkeypatch.setattr("actavatar_jax.chat.attempts.MOST_REFUSALS", 1)
    with ChatServer(lambda *_: Reply(400, b"no images here")) as deaf, ChatServer(lambda *_: says_json()) as server:
        assert run(folder, deaf.url, server.url).counts() == {"made": 5, "skipped: request refused": 1}
        assert len(deaf.requests) == 1
    with ChatServer(lambda *_: Reply(400, b"no images here")) as deaf:
        assert run(folder, deaf.url, seed=1).counts() == {"skipped: not asked": 5, "skipped: request refused": 1}


def test_servers_that_would_answer_differently_are_refused(folder):
    with (
        ChatClient(Server("http://one/v1", "omni")) as one,
        ChatClient(Server("http://two/v1", "other")) as two,
        pytest.raises(InputError, match="http://one/v1 is asked with the model omni and http://two/v1 with other"),
    ):
        annotate_clips(folder, one, two)
