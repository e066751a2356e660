"""Addresses and keys: what is none is refused, and what is secret is written nowhere."""

import logging

import pytest

from actavatar_jax.errors import InputError
from data_pipelines.annotation import ChatClient, Server, annotate_clips
from data_pipelines.annotation.schema import ANSWER_SCHEMA
from data_pipelines.table import Skip
from tests.data.annotation.clip_folders import make_folder
from tests.data.chat_server import ChatServer, Reply, says_json

KEY, PASSWORD = "sk-very-secret", "pass%2Fword"


@pytest.mark.parametrize("key", ["sk-very\nsecret", "sk-very secret", "sk-very-secr\u00e9t", "sk-very\0secret"])
def test_a_key_that_cannot_be_one_is_refused_and_not_shown(key):
    with pytest.raises(InputError, match="the API key of the server holds a line break") as error:
        Server("http://localhost:8000/v1", "omni", key=key)
    assert "sk-" not in str(error.value)


def test_a_key_from_a_file_ends_with_its_line():
    assert Server("http://localhost/v1/", "omni", key=f"{KEY}\r\n").key == KEY
    assert Server("http://localhost/v1/", "omni", key=" \n").key is None


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000/v1",
        "ftp://host/v1",
        "http://",
        "http:///v1",
        "http://host:port/v1",
        "http://host:99999/v1",
        "http://[::1/v1",
        "http://user:secret@host/v1?key=secret",
        "http://user:secret@host/v1#secret",
        "http://user:secret@ho st/v1",
        "http://user:secret@host/v1\nX: secret",
    ],
)
def test_what_is_no_address_is_refused_and_its_secrets_are_not_shown(url):
    with pytest.raises(InputError, match="no address; accepted is like http://localhost:8000/v1") as error:
        Server(url, "omni")
    assert "user" not in str(error.value) and "secret" not in str(error.value)


def test_user_and_password_are_used_and_told_to_nobody_else(tmp_path, caplog):
    """The server repeats them, as some do."""
    caplog.set_level(logging.DEBUG)
    folder = make_folder(tmp_path, {"a": {}, "b": {}})
    sent = "bWU6cGFzcy93b3Jk"  # base64 of me:pass/word
    echo = f"wrong password {PASSWORD}, pass/word, {sent}".encode()

    def script(request, number):
        return (says_json(), Reply(500, echo), Reply(400, echo))[min(number, 2)]

    with ChatServer(script) as server:
        url = server.url.replace("://", f"://me:{PASSWORD}@")
        assert "word" not in repr(Server(url, "omni")) and Server(url, "omni").address == server.url
        with ChatClient(Server(url, "omni", backoff=0.01, timeout=5.0)) as client:
            report = annotate_clips(folder, client, parallel=1, progress=False)
        assert server.headers[0]["Authorization"] == f"Basic {sent}"
    assert report.counts() == {"made": 1, "skipped: request refused": 1}
    written = "".join(path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file())
    for secret in (PASSWORD, "pass/word", sent):
        assert secret not in written and secret not in caplog.text and secret not in str(report)


def test_a_key_that_the_server_repeats_is_masked():
    with (
        ChatServer(lambda *_: Reply(401, f"no such key: {KEY}".encode())) as server,
        ChatClient(Server(server.url, "omni", key=KEY)) as client,
        pytest.raises(InputError, match=r"401 to model omni: no such key: \*\*\*"),
    ):
        client.ask([{"role": "user", "content": "?"}], ANSWER_SCHEMA)
    with (
        ChatServer(lambda *_: Reply(400, f"no such key: {KEY}".encode())) as server,
        ChatClient(Server(server.url, "omni", key=KEY)) as client,
        pytest.raises(Skip, match=r"no such key: \*\*\*"),
    ):
        client.ask([{"role": "user", "content": "?"}], ANSWER_SCHEMA)
