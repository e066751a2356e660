"""The chat client against a server that answers well, badly, slowly and not at all."""

import contextlib
import itertools
import json
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from actavatar_jax.chat import ChatClient, Server, Usage, attempts, open_client
from actavatar_jax.chat import client as chat
from actavatar_jax.errors import InputError, Skip
from data_pipelines.annotation.schema import ANSWER_SCHEMA
from tests.data.chat_server import ChatServer, Reply, says

MESSAGES = [{"role": "user", "content": [{"type": "text", "text": "what happens?"}]}]


def ask(server: ChatServer, **settings):
    with ChatClient(Server(server.url, "omni", **({"backoff": 0.01, "timeout": 5.0} | settings))) as client:
        return client.ask(MESSAGES, ANSWER_SCHEMA)


def in_turn(*replies: Reply):
    return lambda request, number: replies[min(number, len(replies) - 1)]


def test_a_request_is_what_the_protocol_says():
    with ChatServer(in_turn(says("hello"))) as server:
        answer = ask(server, key="secret", seed=7)
    (sent,) = server.requests
    assert sent["messages"] == MESSAGES and (sent["model"], sent["seed"], sent["temperature"]) == ("omni", 7, 0.0)
    assert sent["response_format"]["type"] == "json_schema"
    assert sent["response_format"]["json_schema"]["schema"] == ANSWER_SCHEMA
    assert sent["modalities"] == ["text"] and "guided_json" not in sent
    assert server.headers[0]["Authorization"] == "Bearer secret"
    assert (answer.text, answer.finish, answer.model, answer.fingerprint) == ("hello", "stop", "omni-30b", "fp1")
    assert "secret" not in repr(Server(server.url, "omni", key="secret"))


@pytest.mark.parametrize(
    "trouble",
    [
        Reply(429, b"slow down"),
        Reply(500, b"oops"),
        Reply(503, b"<html>loading</html>"),
        Reply(hang_up=True),
        Reply(200, b"<html>a proxy</html>"),
        Reply(200, b'{"choices": []}'),
        Reply(200, b'[{"choices": 1}]'),
        Reply(200, b'{"choices": [{"message": {"content": 3}}]}'),
        Reply(200, b"not gzip", {"Content-Encoding": "gzip"}),
        Reply(200, b"{}", {"Content-Length": "50"}, drip=0.01),  # breaks off
        says("late", delay=2.0),
        says("dripping", drip=0.2),
    ],
)
def test_trouble_is_tried_again(trouble):
    with ChatServer(in_turn(trouble, trouble, says("at last"))) as server:
        assert ask(server, timeout=0.5).text == "at last"
        assert len(server.requests) == 3


def test_what_never_comes_is_one_clip_without_an_answer():
    with ChatServer(in_turn(Reply(500, b"out of memory"))) as server:
        with pytest.raises(Skip, match="3 attempts, the last with: status 500: out of memory") as caught:
            ask(server, attempts=3)
        assert caught.value.reason == "no answer" and len(server.requests) == 3


def test_a_slow_server_takes_no_longer_than_allowed():
    with ChatServer(in_turn(says("x" * 200, drip=0.1))) as server:
        begun = time.monotonic()
        with pytest.raises(Skip, match=r"not complete after 0\.4 s"):
            ask(server, timeout=0.4, attempts=2)
        assert time.monotonic() - begun < 2


def test_an_endless_answer_is_cut(monkeypatch):
    monkeypatch.setattr(chat, "LARGEST_BODY", 1000)
    with ChatServer(in_turn(says("x" * 5000))) as server, pytest.raises(Skip, match="longer than 1000 bytes"):
        ask(server, attempts=1)


def test_a_refused_request_is_not_tried_again():
    with ChatServer(in_turn(Reply(400, b'{"message": "context length 40000 > 32768"}'))) as server:
        with pytest.raises(Skip, match="40000 > 32768") as caught:
            ask(server)
        assert caught.value.reason == "request refused" and len(server.requests) == 1


@pytest.mark.parametrize("status", [401, 403, 404])
def test_wrong_settings_end_the_run(status):
    with ChatServer(in_turn(Reply(status, b"no such model"))) as server:
        with pytest.raises(InputError, match=f"{status} to model omni: no such model"):
            ask(server)
        assert len(server.requests) == 1


def test_the_wait_is_the_servers_or_doubles():
    with ChatServer(in_turn(Reply(429, headers={"Retry-After": "1"}), says("ok"))) as server:
        ask(server)
        assert 1.0 <= server.times[1] - server.times[0] < 2
    with ChatServer(in_turn(Reply(429, headers={"Retry-After": "soon"}), Reply(500), Reply(500), says("ok"))) as server:
        ask(server, backoff=0.2)
        waits = [after - before for before, after in zip(server.times, server.times[1:], strict=False)]
        assert all(least <= wait < 1.6 * least + 0.1 for wait, least in zip(waits, (0.2, 0.4, 0.8), strict=True))


def test_nobody_there_ends_the_run_after_a_while():
    with ChatServer(in_turn(says("x"))) as server:
        pass
    with ChatClient(Server(server.url, "omni", attempts=2, backoff=0.0)) as client:
        for _ in range(attempts.GIVE_UP - 1):
            with pytest.raises(Skip, match="2 attempts, the last with: All connection attempts failed"):
                client.ask(MESSAGES, ANSWER_SCHEMA)
        with pytest.raises(InputError, match="10 requests in a row without an answer"):
            client.ask(MESSAGES, ANSWER_SCHEMA)


def test_an_answer_in_between_starts_the_count_again():
    answered = attempts.GIVE_UP - 1
    with (
        ChatServer(lambda request, number: says("ok") if number == answered else Reply(500)) as server,
        ChatClient(Server(server.url, "omni", attempts=1)) as client,
    ):
        for number in range(attempts.GIVE_UP + 3):
            if number == answered:
                client.ask(MESSAGES, ANSWER_SCHEMA)
            else:
                with pytest.raises(Skip):
                    client.ask(MESSAGES, ANSWER_SCHEMA)


def test_requests_keep_their_pace_and_run_side_by_side():
    with (
        ChatServer(in_turn(says("ok", delay=0.4))) as server,
        ChatClient(Server(server.url, "omni", per_minute=1200.0)) as client,
        ThreadPoolExecutor(8) as pool,
    ):
        begun = time.monotonic()
        answers = list(pool.map(lambda _: client.ask(MESSAGES, ANSWER_SCHEMA), range(8)))
        lasted = time.monotonic() - begun
    assert len(answers) == 8 and lasted < 1.6  # 8 x 0.4 s one after the other
    times = sorted(server.times)
    assert times[-1] - times[0] >= 0.3  # 7 x 0.05 s, with some slack for the scheduler


@pytest.mark.parametrize("url", ["localhost:8000/v1", "http://[::1/v1", "ftp://here"])
def test_an_address_that_is_none(url):
    with pytest.raises(InputError, match="no address"):
        ChatClient(Server(url, "omni", attempts=1)).ask(MESSAGES, ANSWER_SCHEMA)


def test_a_refusal_is_told_apart():
    body = {"choices": [{"message": {"content": None, "refusal": "I cannot."}, "finish_reason": "stop"}]}
    with ChatServer(in_turn(Reply(body=json.dumps(body).encode()))) as server:
        answer = ask(server)
    assert (answer.text, answer.finish) == ("I cannot.", "content_filter")


def test_headers_that_drip_take_no_longer_than_allowed():
    """One header after the other, each in time for itself, without an end."""

    def drip(listener):
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            for number in itertools.count():
                connection.sendall(f"X-{number}: y\r\n".encode())
                time.sleep(0.1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=drip, args=(listener,), daemon=True).start()
        server = Server(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", "omni", timeout=0.5, attempts=1)
        begun = time.monotonic()
        with ChatClient(server) as client, pytest.raises(Skip, match=r"not complete after 0\.5 s"):
            client.ask(MESSAGES, ANSWER_SCHEMA)
        assert time.monotonic() - begun < 2


def test_a_server_that_refuses_everything_is_not_asked_about_every_clip():
    with ChatServer(in_turn(Reply(400, b"no images here"))) as server:
        with ChatClient(Server(server.url, "omni")) as client:
            reasons = []
            for _ in range(attempts.MOST_REFUSALS + 5):
                with pytest.raises(Skip) as caught:
                    client.ask(MESSAGES, ANSWER_SCHEMA)
                reasons.append(caught.value.reason)
        assert reasons == ["request refused"] * attempts.MOST_REFUSALS + ["not asked"] * 5
        assert len(server.requests) == attempts.MOST_REFUSALS


def test_a_server_that_has_answered_is_asked_on():
    with ChatServer(lambda request, number: Reply(400) if number else says("ok")) as server:
        with ChatClient(Server(server.url, "omni")) as client:
            client.ask(MESSAGES, ANSWER_SCHEMA)
            for _ in range(attempts.MOST_REFUSALS + 5):
                with pytest.raises(Skip, match="status 400"):
                    client.ask(MESSAGES, ANSWER_SCHEMA)
        assert len(server.requests) == attempts.MOST_REFUSALS + 6


def test_what_a_server_says_of_itself_is_text():
    body = b'{"choices": [{"message": {"content": "ok"}}], "model": 5, "system_fingerprint": {"a": 1}}'
    with ChatServer(in_turn(Reply(200, body))) as server:
        answer = ask(server)
    assert (answer.text, answer.model, answer.fingerprint) == ("ok", "5", "{'a': 1}")


def test_tokens_are_counted_as_the_server_says_and_a_seed_is_of_one_question():
    body = json.loads(says("{}").body) | {"usage": {"prompt_tokens": 1200, "completion_tokens": 34, "total": 1234}}
    odd = json.loads(says("{}").body) | {"usage": {"prompt_tokens": -1, "completion_tokens": "34"}}
    replies = [Reply(body=json.dumps(one).encode()) for one in (body, odd)]
    with ChatServer(in_turn(*replies)) as server, ChatClient(Server(server.url, "omni", seed=7)) as client:
        assert client.ask(MESSAGES, ANSWER_SCHEMA, seed=3).usage == Usage(1200, 34)
        assert client.ask(MESSAGES, ANSWER_SCHEMA).usage == Usage()
    assert [request["seed"] for request in server.requests] == [3, 7]


def test_gemini_without_its_package_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "google", None)
    with pytest.raises(InputError, match=r'needs google-genai: pip install "actavatar-jax\[gemini\]"'):
        open_client(Server("http://localhost:1", "gemini-2.5-pro", "key", protocol="gemini"))
