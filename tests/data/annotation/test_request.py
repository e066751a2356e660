"""What a model is shown of a clip, part by part."""

import base64
import io
import wave

import numpy as np
from PIL import Image

from tests.data.annotation.clip_folders import make_folder, run, texts
from tests.data.chat_server import ChatServer, says_json


def test_a_request_shows_the_clip(tmp_path):
    folder = make_folder(tmp_path, {"a": {"asr.transcript": "well, {hello} there"}})
    with ChatServer(lambda *_: says_json()) as server:
        run(folder, server)
        run(make_folder(tmp_path / "hosted", {"a": {}}), server, audio_part="input_audio")
    first, hosted = (request["messages"][1]["content"] for request in server.requests)
    assert texts(server.requests[0])[:10] == [f"frame at {k / 5:.1f} s" for k in range(10)]
    assert [part["type"] for part in first] == ["text", "image_url"] * 10 + ["text", "audio_url", "text"]
    said = texts(server.requests[0])[-1]
    assert "well, {hello} there" in said and "clip of 2.0 s" in said and '"body_part"' in said
    assert "recogniser" not in texts(server.requests[1])[-1]
    kind, _, data = first[1]["image_url"]["url"].partition(",")
    assert kind == "data:image/jpeg;base64"
    shades = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(part["image_url"]["url"].split(",")[1])))).mean()
        for part in first
        if part["type"] == "image_url"
    ]
    assert len(shades) == 10 and shades == sorted(shades)  # the clip grows brighter
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (64, 96)
    for part in (
        first[-2]["audio_url"]["url"].removeprefix("data:audio/wav;base64,"),
        hosted[-2]["input_audio"]["data"],
    ):
        with wave.open(io.BytesIO(base64.b64decode(part))) as sound:
            assert (sound.getnchannels(), sound.getframerate()) == (1, 16000)
            samples = np.frombuffer(sound.readframes(10**6), "<i2") / 32768
        assert abs(len(samples) - 32000) <= 1024 and samples[-8000:].std() > 3 * samples[:8000].std()
    assert hosted[-2]["input_audio"]["format"] == "wav"
