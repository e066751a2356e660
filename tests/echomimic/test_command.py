"""`actavatar sample --system echomimic`, with tiny networks in the place of the published ones."""

import numpy as np
import pytest
from PIL import Image

from actavatar_jax.echomimic import EchoMimicPipeline
from actavatar_jax.media import Video, load_video
from tests.commands import actavatar, refused
from tests.data import tiny_models
from tests.echomimic.tiny import picture, pipeline
from tests.media.sounds import encode, tones

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """What was read and called, in a folder with a portrait and speech of nine frames."""
    calls = {}

    class Noting:
        def __init__(self, variant):
            self.variant = variant

        def __call__(self, image, audio, prompt, **options):
            options.pop("callback")
            calls.update(image=image, audio=audio, prompt=prompt, options=options)
            frames = np.stack([picture(0)] * 9)
            return Video(frames, np.zeros(9 * 640, np.float32))

    def from_pretrained(transformer, base, audio_encoder, **loading):
        calls.update(folders=(str(transformer), str(base), str(audio_encoder)), loading=loading)
        return Noting(loading["variant"])

    monkeypatch.setattr(EchoMimicPipeline, "from_pretrained", from_pretrained)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(picture(0)).save("face.png")
    encode(tmp_path / "speech.wav", tones(16000, 0.36, 300), 16000)
    return calls


FOLDERS = ("--model", "e/transformer", "--base", "wan", "--audio-encoder", "speech")
COMMAND = ("sample", "--system", "echomimic", *FOLDERS, "--audio", "speech.wav", "--prompt", "Talks.", "--out", "t.mp4")


def test_options_that_are_given_are_handed_on_and_no_others(asked):
    assert actavatar(*COMMAND, "--image", "face.png", "--face", "10, 40, 8, 32") == 0
    assert asked["folders"] == ("e/transformer", "wan", "speech")
    usual = {"variant": "preview", "dtype": "float32", "attention": "auto", "memory": "auto"}
    assert asked["loading"] == {**usual, "quantize": None, "mesh": None, "loras": []}
    assert asked["options"] == {
        "task": "first_frame", "last_image": None, "video": None, "mouth": None, "face": (10.0, 40.0, 8.0, 32.0),
    }  # fmt: skip
    assert str(asked["image"]) == "face.png" and asked["prompt"] == "Talks."
    assert len(load_video("t.mp4").frames) == 9

    changed = ("--variant", "flash", "--dtype", "bfloat16", "--frames", 25, "--overlap", 4, "--seed", 7)
    changed += ("--memory", "16GB", "--quantize", "int8", "--mesh", "1,1,2", "--lora", "a.safetensors:0.5")
    changed += (
        "--chunk-frames",
        17,
        "--steps",
        3,
        "--text-guidance",
        2.5,
        "--negative-prompt",
        "Bad.",
        "--phase-time",
        "none",
    )
    assert actavatar(*COMMAND, "--task", "text_and_audio", "--height", 48, "--width", 32, *changed) == 0
    loading = {"variant": "flash", "dtype": "bfloat16", "attention": "auto", "memory": "16GB"}
    assert asked["loading"] == {**loading, "quantize": "int8", "mesh": "1,1,2", "loras": ["a.safetensors:0.5"]}
    sampling = {name: value for name, value in asked["options"].items() if value is not None}
    assert sampling == {
        "task": "text_and_audio", "num_frames": 25, "chunk_frames": 17, "overlap": 4, "height": 48, "width": 32,
        "steps": 3, "text_guidance": 2.5, "negative_prompt": "Bad.", "phase_time": "none", "seed": 7,
    }  # fmt: skip


def test_boxes_are_found_where_a_folder_with_a_detector_is_given(asked, tmp_path):
    tiny_models.face(tmp_path / "models" / "face.onnx")
    grey = np.full((640, 640, 3), 60, np.uint8)
    red = grey.copy()
    red[320:352, 320:352] = (255, 0, 0)
    assert actavatar(*COMMAND, "--image", "face.png", "--models", "models") == 0
    find = asked["options"]["face"]
    assert find(grey) is None and len(find(red)) == 4
    Video(np.stack([red] * 9), np.zeros(9 * 640, np.float32)).save("old.mp4")
    assert actavatar(*COMMAND, "--task", "mouth", "--video", "old.mp4", "--models", "models") == 0
    assert len(asked["options"]["mouth"]) == 9
    mouth = ("--mouth", "20 40 8 24", "--face", "everywhere")
    assert actavatar(*COMMAND, "--task", "mouth", "--video", "old.mp4", *mouth) == 0
    assert asked["options"]["mouth"] == (20.0, 40.0, 8.0, 24.0) and asked["options"]["face"] == "everywhere"


def test_what_does_not_fit_is_one_sentence(asked, capsys, tmp_path):
    refused(capsys, 'no system "sora"; choose one of actavatar, echomimic', *COMMAND[:2], "sora", *COMMAND[3:])
    refused(capsys, "echomimic has no use for --adapter, --skip", *COMMAND, "--skip", 0.1, "--adapter", "a")
    plain = (
        "sample",
        "--model",
        "m",
        "--image",
        "face.png",
        "--audio",
        "speech.wav",
        "--prompt",
        "A",
        "--out",
        "t.mp4",
    )
    refused(capsys, "actavatar has no use for --base, --task", *plain, "--task", "mouth", "--base", "wan")
    refused(capsys, "needs --base, --audio-encoder", *COMMAND[:5], *COMMAND[9:])
    refused(capsys, "one video at a time", *COMMAND, "--seed", 1, "--seed", 2)
    refused(capsys, "videos are written as .mp4", *COMMAND[:-1], "t.gif")
    refused(capsys, '--face is "left"; accepted are four numbers', *COMMAND, "--face", "left")
    refused(capsys, "--mouth is", *COMMAND, "--task", "mouth", "--mouth", "1,2,3")
    (tmp_path / "models").mkdir()
    refused(capsys, "models holds no face.onnx", *COMMAND, "--image", "face.png", "--models", "models")
    assert not (tmp_path / "t.mp4").exists()


@pytest.mark.slow
def test_a_video_is_made(asked, monkeypatch):
    monkeypatch.setattr(EchoMimicPipeline, "from_pretrained", lambda *_, variant, **__: pipeline(variant))
    assert actavatar(*COMMAND, "--image", "face.png", "--face", "everywhere", "--steps", 2) == 0
    assert load_video("t.mp4").frames.shape == (9, 48, 32, 3)
