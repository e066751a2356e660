"""Every setting of a training is of its type and within what is accepted, or one sentence says so beforehand."""

import math

import pytest
from ml_collections import ConfigDict

from actavatar_jax.errors import InputError
from actavatar_jax.puppets.settings import check_recipe
from actavatar_jax.runs.resolve import check_names, in_steps, training_settings
from actavatar_jax.runs.sections import check_values
from actavatar_jax.runs.vae import read_vae_config
from configs import puppets, stage1, stage2, vae

WRONG = {
    "text": "evil",
    "long text": "evil" * 1000,
    "lines": "evil\nmore",
    "minus": -1,
    "not a number": math.nan,
    "infinite": math.inf,
    "huge": 10**400,
    "switch": True,
    "nothing": None,
    "list": ("evil",),
    "numbers": (-1, 0, 1),
    "object": {"evil": 1},
}
# What is looked at only where it is used: names of files, folders and devices, and sections that are open.
TEXT = {"text", "long text", "lines"}
UNSET = {"nothing"}
ACCEPTED = {
    "mesh": TEXT,
    "adapter": TEXT,
    "vae": TEXT,
    "model.folder": TEXT,
    "model.preset": TEXT,
    "model.stream": UNSET,
    "model.phase_time": UNSET,
    "model.latent_rate": UNSET,
    "model.frame_time": UNSET | {"switch"},
    "model.gamma": UNSET,
    "data.source": TEXT,
    "data.dirs": {"list"},
    "data.dir": TEXT,
    "data.weights": UNSET | {"numbers"},
    "data.world": {"object"},
    "heldout.dirs": {"list"},
    "preference.folder": TEXT,
    "sample.jobs": TEXT,
    "sample.syncnet": TEXT,
    "sample.negative_prompt": TEXT | UNSET,
    "sample.text_guidance": UNSET | {"minus"},
    "sample.audio_guidance": UNSET | {"minus"},
    "sample.height": UNSET | {"huge"},  # what has room is known where sampling is planned
    "sample.width": UNSET | {"huge"},
    "fresh": {"switch"},
}


def check_training(config):
    check_names(config)
    check_values(config)
    training_settings(in_steps(config, examples=100))


CONFIGS = {
    "stage1": (stage1.get_config, check_training),
    "stage2": (stage2.get_config, check_training),
    "puppets": (puppets.get_config, check_recipe),
    "vae": (vae.get_config, read_vae_config),
}


def settings_of(section, above=""):
    for name, value in section.items():
        if isinstance(value, ConfigDict) and value:
            yield from settings_of(value, f"{above}{name}.")
        else:
            yield above + name


CASES = [
    (kind, name)
    for kind, (make, _) in CONFIGS.items()
    for name in settings_of(make())
    if not name.startswith(("backbone.", "stage1."))  # of puppets, which have the same settings in stage 2
]


@pytest.mark.parametrize("kind", CONFIGS)
def test_what_stands_in_a_config_is_accepted(kind):
    make, check = CONFIGS[kind]
    check(make())


@pytest.mark.parametrize(("kind", "name"), CASES, ids=[" ".join(case) for case in CASES])
def test_a_wrong_value_is_refused_in_one_sentence(kind, name):
    make, check = CONFIGS[kind]
    *above, leaf = name.split(".")
    stage = name.removeprefix("stage2.")
    accepted = ACCEPTED.get(stage, UNSET if stage.startswith("sample.") else set())
    config, taken = make(), set()
    for what, value in WRONG.items():
        with config.unlocked(), config.ignore_type():
            section = config
            for part in above:
                section = section[part]
            try:
                section[leaf] = value
            except OverflowError:
                continue  # where a number is, the config itself takes none that is so large
            if value is True and section[leaf] is not True:
                continue  # likewise it has made a number of it
        try:
            check(config)
        except InputError as error:
            assert len(str(error)) <= 400 and "\n" not in str(error), error
        else:
            taken.add(what)
    assert taken <= accepted, f"{name} takes {sorted(taken - accepted)}"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("optim.learning_rate", math.nan, "setting optim.learning_rate is nan; accepted is a number above 0"),
        ("optim.b1", 2.0, "setting optim.b1 is 2.0; accepted is a number from 0 to below 1"),
        ("optim.ema_decay", 5.0, "setting optim.ema_decay is 5.0; accepted is a number from 0 to below 1"),
        ("optim.clip", 0.0, "setting optim.clip is 0.0; accepted is a number above 0"),
        ("log_every", "0", "setting log_every is 0; accepted is a whole number from 1 to 2147483647"),
        ("steps", "-5", '"-5" is not a duration'),
        ("steps", "1e12", '"1e12" is more than 2147483647 steps'),
        ("model.phase_time", "evil", "setting model.phase_time is 'evil'; accepted is paper or relay or soft_relay"),
        ("data.text_drop", math.nan, "setting data.text_drop is nan; accepted is a number from 0 to 1"),
        ("data.batch_size", 0, "setting data.batch_size is 0; accepted is a whole number from 1 to"),
        ("heldout.clips", 0, "setting heldout.clips is 0; accepted is a whole number from 1 to"),
        ("sample.steps", 0, "steps"),
        (
            "model.folder",
            "gs://b/model",
            "setting model.folder: gs://b/model is an address on a store; a path on a disk",
        ),
        ("adapter", "gs://b/a.safetensors", "setting adapter: gs://b/a.safetensors is an address on a store"),
        ("seed", 2**64, "setting seed is 18446744073709551616; accepted is a whole number from 0 to"),
    ],
)
def test_the_sentence_says_what_is_accepted(name, value, sentence):
    config = stage2.get_config()
    *above, leaf = name.split(".")
    with config.ignore_type():
        (config[above[0]] if above else config)[leaf] = value
    with pytest.raises(InputError) as error:
        check_training(config)
    assert sentence in str(error.value)
