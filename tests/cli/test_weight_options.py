"""`--quantize` and `--lora` of `actavatar sample`: what they cannot mean is one sentence, and nothing is sampled."""

from actavatar_jax.puppets.recipe import SHIPPED
from tests.commands import refused

VIDEO = ("--image", "face.png", "--audio", "speech.wav", "--prompt", "A woman.", "--out", "talk.mp4")


def test_unknown_form(capsys):
    refused(capsys, "accepted are int8 and fp8", "sample", "--model", SHIPPED, *VIDEO, "--quantize", "int4")


def test_missing_file(capsys):
    lora = ("--lora", "none.safetensors:0.5")
    refused(capsys, "none.safetensors is missing", "sample", "--model", SHIPPED, *VIDEO, *lora)
