"""The options of sampling: what cannot be is refused in one sentence, whoever asks for it."""

import json

import numpy as np
import pytest

from actavatar_jax import InputError, Sampling
from actavatar_jax.diffusion import OPTIONS


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 0}, "1 to 1000, not 0"),
        ({"steps": "8"}, "steps is '8'; accepted is a whole number"),
        ({"steps": 8.0}, "steps is 8.0; accepted is a whole number"),
        ({"steps": True}, "steps is True; accepted is a whole number"),
        ({"steps": None}, "steps is None"),
        ({"solver": "heun"}, "unipc, dpm\\+\\+, euler, mean"),
        ({"solver": "mean"}, "1 step, not 40; give steps=1"),
        ({"shift": 0}, "shift must be a positive number"),
        ({"shift": "5"}, "shift is '5'; accepted is a number"),
        ({"text_guidance": float("nan")}, "finite"),
        ({"guidance": "loud"}, "auto, joint"),
        ({"guidance": "joint", "audio_guidance": 3.0}, "make them equal"),
        ({"guidance_interval": (0.2, 1.2)}, "interval is 0.2 to 1.2; accepted are two noise levels from 0 to 1"),
        ({"guidance_interval": (0.2,)}, "guidance_interval is \\(0.2,\\); accepted is a list of 2"),
        ({"guidance_interval": 0.2}, "guidance_interval is 0.2; accepted is a list of 2"),
        ({"guidance_interval": ("0", "1")}, "guidance_interval is '0'; accepted is a number"),
        ({"skip": -0.1}, "skip is -0.1; accepted is a number from 0 on"),
        ({"skip": float("inf")}, "skip is inf; accepted is a number from 0 on"),
        ({"negative_prompt": 3}, "accepted is text"),
        ({"num_frames": 10}, "9 or 13"),
        ({"num_frames": 1}, "1 frame is the image itself; accepted are 5, 9, "),
        ({"num_frames": 3}, "3 frames cannot be made; accepted are 5, 9, "),
        ({"num_frames": 0}, "0 frames cannot be made; accepted are 5, 9, "),
        ({"num_frames": 6}, "6 frames cannot be made; accepted are 5, 9, .* for example 5 or 9"),
        ({"height": 64}, "go together"),
        ({"height": -64, "width": 64}, "-64x64"),
        ({"phase_time": "evil"}, "phase_time is 'evil'; accepted is paper, relay, soft_relay, tie, "),
        ({"phase_time": 1}, "phase_time is 1; accepted is text"),
        ({"rate": 24}, "rate is 24; accepted is 16 or 25"),
        ({"rate": 16.5}, "rate is 16.5; accepted is a whole number"),
        ({"seed": -1}, "0 to 18446744073709551615"),
        ({"seed": 2**64}, "0 to 18446744073709551615"),
    ],
)
def test_wrong_options_are_refused(options, words):
    for make in (Sampling, Sampling().changed):
        with pytest.raises(InputError, match=words):
            make(**options)


def test_an_option_that_does_not_exist_is_answered_with_those_that_do():
    with pytest.raises(InputError, match=f"no sampling option stepz; there are: {', '.join(OPTIONS)}"):
        Sampling().changed(stepz=8)


def test_numbers_of_numpy_become_plain_ones():
    """They are stored as JSON."""
    options = Sampling(steps=np.int64(8), shift=np.float32(3), text_guidance=2)
    assert options == Sampling(steps=8, shift=3.0, text_guidance=2.0)
    assert json.dumps(vars(options)) == json.dumps(vars(Sampling(steps=8, shift=3.0, text_guidance=2.0)))


def test_options_come_back_from_json():
    options = Sampling(steps=8, guidance_interval=(0.2, 1), skip=0.1)
    stored = json.loads(json.dumps(vars(options)))
    assert stored["guidance_interval"] == [0.2, 1.0] and Sampling(**stored) == options


def test_the_single_step_of_mean_is_not_inherited():
    mean = Sampling().changed(solver="mean", steps=1)
    with pytest.raises(InputError, match="unipc would inherit the single step of mean; give steps"):
        mean.changed(solver="unipc")
    assert mean.changed(solver="unipc", steps=1).solver == "unipc"
    assert mean.changed(solver="mean", seed=1) == mean.changed(seed=1)
