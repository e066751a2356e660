"""A world small enough to compile in seconds: a transformer of two blocks and made-up clips of three latent frames."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.functional import Network
from actavatar_jax.models import ADAPTER, Execution
from actavatar_jax.models.avatar import ActAvatarDiT, AudioAdapterConfig, DiTConfig
from actavatar_jax.parallel import ParameterGroups
from actavatar_jax.training.groups import multipliers, partition
from actavatar_jax.training.objective import AvatarObjective
from actavatar_jax.training.optimizer import make_optimizer, make_schedule
from actavatar_jax.training.settings import OptimizerSettings, TrainingSettings
from actavatar_jax.training.state import TrainState
from actavatar_jax.training.step import make_train_step
from data_pipelines.loading import SyntheticSource, make_synthetic_loader
from data_pipelines.shards import Bucket

MODEL = DiTConfig(
    width=32,
    heads=2,
    head_dim=16,
    ffn=64,
    layers=2,
    in_channels=4,
    out_channels=4,
    text_dim=16,
    text_len=32,
    freq_dim=16,
    audio=AudioAdapterConfig(feature_layers=2, feature_width=8, hidden=16, tokens=4, token_width=16),
)
RULES = {1: ((ADAPTER, 1.0), (r".*", None)), 2: ((r".*", 1.0),)}  # by stage
OPTIM = OptimizerSettings(
    learning_rate=1e-3,
    schedule="constant",
    warmup=1,
    decay=0,
    b1=0.9,
    b2=0.999,
    eps=1e-8,
    weight_decay=0.01,
    clip=1.0,
    moments="float32",
    ema_decay=0.9,
)
SETTINGS = TrainingSettings(
    seed=0,
    mesh="1,-1,1",
    micro_batches=1,
    steps=8,
    log_every=2,
    checkpoint_every=4,
    sample_every=0,
    bad_steps=10,
    explode=0.0,
    stall_minutes=30.0,
    rules=ParameterGroups(RULES[2]),
    optim=OPTIM,
    objective=AvatarObjective(),
)
SOURCE = SyntheticSource(Bucket(64, 64, 9), records=12, channels=4, text_dim=16, audio_layers=2, audio_dim=8)


class World:
    """What the tests of training share; `params` are made anew at each call."""

    model, network = MODEL, Network(ActAvatarDiT, MODEL, Execution())
    key = jax.random.key(0, impl="threefry2x32")

    @staticmethod
    def batches(batch_size=4, seed=0):
        dataset = make_synthetic_loader(SOURCE, batch_size=batch_size, seed=seed, text_len=MODEL.text_len)
        return iter(dataset)

    def open_params(self, wanted, places):
        """What `loop.train` asks for, on the host; remembers the names."""
        self.opened = set(wanted)
        return {name: leaf for name, leaf in functional.flatten(self.params()).items() if name in wanted}

    @staticmethod
    def params():
        """numpy arrays; no parameter is at its identity start, so that every one gets a gradient."""
        rng = np.random.default_rng(0)
        shapes = functional.flatten(functional.abstract(ActAvatarDiT, MODEL))
        gains = {name: float(name.endswith("/scale")) for name in shapes}
        drawn = {name: gains[name] + 0.15 * rng.standard_normal(x.shape, np.float32) for name, x in shapes.items()}
        return functional.unflatten(drawn)

    @staticmethod
    def settings(stage=2, **changes):
        return dataclasses.replace(SETTINGS, rules=ParameterGroups(RULES[stage]), **changes)

    @functools.cache  # noqa: B019 - one world per session
    def optimizer(self, stage):
        return make_optimizer(OPTIM, SETTINGS.steps, multipliers(self.params(), self.settings(stage).rules))

    @functools.cache  # noqa: B019
    def step(self, stage, dtype="float32"):
        network = Network(ActAvatarDiT, MODEL, Execution(dtype))
        schedule = make_schedule(OPTIM, SETTINGS.steps)
        return make_train_step(network, self.optimizer(stage), AvatarObjective(), schedule, OPTIM.ema_decay)

    def state(self, stage):
        return TrainState.create(*partition(self.params(), self.settings(stage).rules), self.optimizer(stage), ema=True)


@pytest.fixture(scope="module")
def world(quick_compilation):
    return World()


@pytest.fixture(scope="module")
def one_step(world):
    """For each stage: (weights before, state after one step, its metrics)."""
    batch = jax.device_put(next(world.batches()))
    return {stage: (world.params(), *world.step(stage)(world.state(stage), batch, world.key)) for stage in (1, 2)}
