"""`--quantize` and `--lora` of `actavatar sample`: what they cannot mean is one sentence, and nothing is sampled."""

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from actavatar_jax.puppets.recipe import SHIPPED
from tests.commands import refused


@pytest.fixture
def video(tmp_path):
    Image.fromarray(np.full((64, 64, 3), 120, np.uint8)).save(tmp_path / "face.png")
    wavfile.write(tmp_path / "speech.wav", 16_000, np.zeros(16_000, np.int16))
    inputs = ("--image", tmp_path / "face.png", "--audio", tmp_path / "speech.wav", "--prompt", "A woman.")
    return "sample", "--model", SHIPPED, *inputs, "--out", tmp_path / "talk.mp4"


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--quantize", "int4"), "accepted are int8 and fp8"),
        (("--dtype", "bf16"), "accepted is float32, bfloat16"),
        (("--attention", "sdpa"), "accepted is auto, "),
        (("--memory", "much"), "accepted is auto, or a size such as 24GB"),
        (("--lora", "none.safetensors:0.5"), "none.safetensors is missing"),
        (("--adapter", "none.safetensors"), "none.safetensors is missing"),
    ],
)
def test_what_an_option_cannot_mean(video, option, words, capsys):
    refused(capsys, words, *video, *option)
