"""Plan mode: a picture and a speech to a prompt, or to one sentence of what went wrong."""

import json
import wave

import numpy as np
import pytest
from PIL import Image

from actavatar_jax.errors import InputError
from data_pipelines.annotation import ChatClient, Server, write_prompt
from tests.data.chat_server import GOOD, ChatServer, Reply, says, says_json


@pytest.fixture
def image(tmp_path):
    Image.fromarray(np.full((700, 500, 3), 90, np.uint8)).save(tmp_path / "face.png")
    return tmp_path / "face.png"


def speech(folder, seconds):
    with wave.open(str(folder / "speech.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(np.random.default_rng(0).integers(-9000, 9000, int(seconds * 16000)).astype("<i2").tobytes())
    return folder / "speech.wav"


def write(server, image, audio, **settings):
    with ChatClient(Server(server.url, "omni", attempts=2, backoff=0.01)) as client:
        return write_prompt(image, audio, client, **settings)


def test_a_plan_for_a_picture_and_a_speech(image, tmp_path):
    with ChatServer(lambda *_: says_json()) as server:
        prompt = write(server, image, speech(tmp_path, 3.0))
    assert prompt.base == GOOD["base"] and [phase.stamp for phase in prompt.phases] == ["[0-1s]", "[1-2s]"]
    content = server.requests[0]["messages"][1]["content"]
    assert [part["type"] for part in content] == ["image_url", "audio_url", "text"]
    assert "speech of 3.0 s" in content[-1]["text"] and "Propose" in content[-1]["text"]


def test_only_the_wanted_seconds_are_planned(image, tmp_path):
    audio = speech(tmp_path, 30)
    wrong = json.dumps(GOOD | {"phases": [GOOD["phases"][0] | {"end": 4.0}]})
    with ChatServer(lambda _, number: says(wrong) if number == 0 else says_json()) as server:
        prompt = write(server, image, audio, seconds=2.0)
        sound = server.requests[0]["messages"][1]["content"][1]["audio_url"]["url"]
        assert len(server.requests) == 2 and len(prompt.phases) == 2
        assert len(sound) == pytest.approx(2 * 32000 * 4 / 3, rel=0.01)
        with pytest.raises(InputError, match=r"more than 20 s of .*speech\.wav: accepted are 0\.6 to 20 s"):
            write(server, image, audio)
        with pytest.raises(InputError, match=r"0\.10 s"):
            write(server, image, audio, seconds=0.1)
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (says("I'm sorry, I can't."), "no usable prompt in two answers: You declined"),
        (Reply(500, b"oops"), "gave no prompt: 2 attempts, the last with: status 500: oops"),
        (Reply(422, b"audio?"), "gave no prompt: status 422: audio?"),
        (Reply(404, b"unknown"), "404 to model omni"),
    ],
)
def test_no_plan_is_one_sentence(image, tmp_path, reply, words):
    with ChatServer(lambda *_: reply) as server, pytest.raises(InputError, match=words):
        write(server, image, speech(tmp_path, 2))
