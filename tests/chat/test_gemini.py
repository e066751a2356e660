"""Gemini's client against a server on the loopback device that speaks its protocol."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from actavatar_jax.chat import Server, Usage, attempts, open_client
from actavatar_jax.errors import InputError, Skip
from actavatar_jax.evaluation.bench.judge.questions import answer_schema, make_question
from tests.commands import actavatar, refused
from tests.data.chat_server import ChatServer, Reply
from tests.evaluation.bench.small_bench import WINDOWS, make_bench, make_results

pytest.importorskip("google.genai")
PATH = "/models/judge-1:generateContent"
PICTURE = np.full((4, 6, 3), 90, np.uint8)
ASKED = make_question(PICTURE, [(0.5, PICTURE)], [], 1.0)
SCHEMA = answer_schema(1)


def says(text, finish="STOP", **counts):
    """A response with this text, behind a thought that nobody asked for."""
    parts = [{"text": "hm", "thought": True}, {"text": text}]
    body = {"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": finish}]}
    usage = {"promptTokenCount": 100, "candidatesTokenCount": 10, "thoughtsTokenCount": 7} | counts
    return Reply(body=json.dumps(body | {"usageMetadata": usage, "modelVersion": "judge-1-007"}).encode())


def fails(status, message, **error):
    return Reply(status, json.dumps({"error": {"code": status, "message": message, **error}}).encode())


def served(*replies):
    return ChatServer(lambda request, number: replies[min(number, len(replies) - 1)], PATH)


def ask(server, count=1, **settings):
    told = {"key": "s3cret", "timeout": 5.0, "backoff": 0.01, "attempts": 3, "temperature": 0.4} | settings
    place = server.url.removesuffix("/v1")
    with open_client(Server(place, "judge-1", protocol="gemini", **told)) as client:
        return [client.ask(ASKED, SCHEMA, seed=3) for _ in range(count)][-1]


def test_a_request_shows_what_any_judge_is_shown():
    with served(says('{"phases": []}')) as server:
        answer = ask(server)
    assert (answer.text, answer.finish, answer.model) == ('{"phases": []}', "stop", "judge-1-007")
    assert answer.usage == Usage(100, 17) and answer.fingerprint is None
    (sent,), (headers,) = server.requests, server.headers
    assert {name.lower(): value for name, value in headers.items()}["x-goog-api-key"] == "s3cret"
    settings = sent["generationConfig"]
    assert (settings["temperature"], settings["seed"]) == (0.4, 3)
    assert settings["responseMimeType"] == "application/json" and settings["responseJsonSchema"] == SCHEMA
    system, user = ASKED
    assert [part["text"] for part in sent["systemInstruction"]["parts"]] == [system["content"]]
    (content,) = sent["contents"]
    assert content["role"] == "user" and len(content["parts"]) == len(user["content"])
    for ours, theirs in zip(user["content"], content["parts"], strict=True):
        if ours["type"] == "text":
            assert theirs == {"text": ours["text"]}
        else:
            data = theirs["inlineData"]
            assert "image/jpeg" in data.values()  # under a name that google-genai changes from version to version
            assert Image.open(io.BytesIO(base64.urlsafe_b64decode(data["data"]))).size == (6, 4)


@pytest.mark.parametrize(
    "trouble",
    [
        fails(429, "slow down"),
        fails(503, "overloaded"),
        Reply(500, b"<html>oops</html>"),
        Reply(hang_up=True),
        Reply(200, b"<html>a proxy</html>"),
        Reply(200, b"{}"),
    ],
)
def test_trouble_is_tried_again(trouble):
    with served(trouble, trouble, says("at last")) as server:
        assert ask(server).text == "at last" and len(server.requests) == 3


def test_a_late_answer_is_trouble():
    with served(Reply(delay=2.0)) as server, pytest.raises(Skip, match="2 attempts, the last with: ") as caught:
        ask(server, timeout=0.3, attempts=2)
    assert caught.value.reason == "no answer"


def test_what_is_refused_is_not_asked_again():
    blocked = Reply(body=json.dumps({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}).encode())
    for reply, words in ((blocked, "blocked: PROHIBITED_CONTENT"), (fails(400, "too large"), "status 400: too large")):
        with served(reply) as server, pytest.raises(Skip, match=words) as caught:
            ask(server)
        assert caught.value.reason == "request refused" and len(server.requests) == 1
    with served(says("", "SAFETY")) as server:
        assert ask(server).finish == "content_filter"
    with served(says("{", "MAX_TOKENS")) as server:
        assert ask(server).finish == "length"


def test_a_wrong_setting_ends_the_run_and_the_key_is_told_nowhere():
    invalid = fails(400, "API key s3cret not valid", details=[{"reason": "API_KEY_INVALID"}])
    for reply, words in ((invalid, "does not accept the key"), (fails(404, "no s3cret"), r"answers 404 .*: no \*\*\*")):
        with served(reply) as server, pytest.raises(InputError, match=words) as caught:
            ask(server)
        assert "s3cret" not in str(caught.value) and len(server.requests) == 1
    with served(fails(400, "bad s3cret")) as server, pytest.raises(Skip, match=r"bad \*\*\*"):
        ask(server)
    with served() as server, pytest.raises(InputError, match="environment variable ACTAVATAR_API_KEY"):
        ask(server, key=None)


def test_a_server_that_refuses_everything_is_left_alone(monkeypatch):
    monkeypatch.setattr(attempts, "MOST_REFUSALS", 2)
    with served(fails(400, "no")) as server:
        place = Server(server.url.removesuffix("/v1"), "judge-1", "key", protocol="gemini")
        with open_client(place) as client:
            reasons = []
            for _ in range(3):
                with pytest.raises(Skip) as caught:
                    client.ask(ASKED, SCHEMA)
                reasons.append(caught.value.reason)
    assert reasons == ["request refused"] * 2 + ["not asked"] and len(server.requests) == 2


def test_sound_is_not_shown():
    with served() as server:
        place = Server(server.url.removesuffix("/v1"), "judge-1", "key", protocol="gemini")
        part = {"type": "audio_url", "audio_url": {"url": "data:audio/wav;base64,"}}
        with open_client(place) as client, pytest.raises(InputError, match="part of the type audio_url; accepted are"):
            client.ask([{"role": "user", "content": [part]}], SCHEMA)


def test_the_command_asks_gemini(tmp_path, monkeypatch, capsys):
    pytest.importorskip("jinja2")
    make_bench(tmp_path)
    make_results(tmp_path / "results", {"wave": WINDOWS["wave"]})
    seen = {"observed": "He waves.", "observed_start": 0.2, "observed_end": 0.6, "ao": 1, "aa": 8, "tc": 7, "aq": 6}
    answer = says(json.dumps({"phases": [seen | {"hc": None}], "clip_comment": "Fine."}))
    given = ["evaluate", "videos", tmp_path / "results", "--bench", tmp_path / "bench.jsonl", "--metrics", "judge"]
    given += ["--out", tmp_path / "out", "--server", "gemini", "--model", "judge-1", "--runs", 2]
    with served(answer) as server:
        monkeypatch.setattr("actavatar_jax.chat.servers.GEMINI", server.url.removesuffix("/v1"))
        monkeypatch.setenv("ACTAVATAR_API_KEY", "s3cret")
        assert actavatar(*given) == 0
        assert sorted(request["generationConfig"]["seed"] for request in server.requests) == [0, 1]
    told = capsys.readouterr()
    assert "AA, action accuracy 0-10: 8 | 1 of 6 clips" in told.out
    assert "200 tokens read and 34 written" in told.out
    assert "s3cret" not in told.out + told.err
    assert not any("s3cret" in path.read_text("latin-1") for path in tmp_path.rglob("*.json"))
    refused(capsys, "both --server and --model", *given[:-4])
