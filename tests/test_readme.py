"""What README.md says about small worlds: its commands run, its figures are those of the configs."""

import re
import shlex
from pathlib import Path

import pytest

from actavatar_jax.puppets.world.clips import World, write_clips
from actavatar_jax.runs.resolve import in_steps
from actavatar_jax.weights import load_defaults
from configs import small, stage2
from tests.commands import actavatar

ROOT = Path(__file__).resolve().parents[1]

# Said after what the README says, so that it counts instead.
TINY = {
    "init": ("--preset", "tiny", "--height", 64, "--width", 64, "--frames", 9),
    "encode": ("--frames", 9, "--buckets", "64x64"),
    "train": ("--config.steps=2", "--config.data.batch_size=2"),
}


@pytest.fixture(scope="module")
def section() -> str:
    """From one bold heading to the next."""
    [text] = re.findall(
        r"^\*\*Small worlds of your own\.\*\*.*?(?=^\*\*)", (ROOT / "README.md").read_text(), re.M | re.S
    )
    return text


@pytest.mark.slow
def test_the_commands_run_one_after_the_other(section, quick_compilation, tmp_path, monkeypatch):
    write_clips(tmp_path / "videos", range(2), World(side=64, frames=13))
    assert actavatar("prepare", tmp_path / "videos", tmp_path / "clips", "--min-frames", 9, "--min-side", 64) == 0
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    [block] = re.findall(r"```bash\n(.*?)```", section, re.S)
    commands = [shlex.split(line)[1:] for line in block.replace("\\\n", "").splitlines()]
    assert [name for name, *_ in commands] == list(TINY)
    for name, *arguments in commands:
        assert actavatar(name, *arguments, *TINY[name]) == 0, name
    assert load_defaults("runs/small/model").num_frames == 9


def test_lengths_and_times_are_those_of_the_configs(section):
    lengths = [
        (int(steps.replace(",", "")), int(batch)) for steps, batch in re.findall(r"(\S+) steps of batch (\d+)", section)
    ]
    configs = [in_steps(config.get_config(), examples=4) for config in (small, stage2)]
    assert lengths == [(config.steps, config.data.batch_size) for config in configs]

    short, long = map(float, re.findall(r"about ([\d.]+)\s+CPU-seconds", section))
    [before] = map(float, re.findall(r"compiling\) takes about (\d+)", section))
    [minutes] = map(float, re.findall(r"(\d+) CPU-minutes", section))
    [hours] = map(float, re.findall(r"(\d+) CPU-hours", section))
    assert minutes == round((configs[0].steps * short + before) / 60) <= 20
    assert hours == round(configs[1].steps * long / 3600)
