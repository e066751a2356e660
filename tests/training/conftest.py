"""A world small enough to compile in seconds: a transformer of two blocks and made-up clips of three latent frames."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.diffusion.flow import TimeLaw
from actavatar_jax.models.avatar import ActAvatarDiT, AudioAdapterConfig, DiTConfig
from actavatar_jax.training.groups import multipliers, partition
from actavatar_jax.training.optimizer import make_optimizer, make_schedule
from actavatar_jax.training.state import TrainState
from actavatar_jax.training.step import make_train_step
from configs import stage1, stage2
from data_pipelines.loading.synthetic import SyntheticSource, make_synthetic_loader
from data_pipelines.shards.buckets import Bucket

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
SOURCE = SyntheticSource(Bucket(64, 64, 9), records=12, channels=4, text_dim=16, audio_layers=2, audio_dim=8)


class World:
    """What the tests of training share; `params` and `config` are made anew at each call."""

    model = MODEL
    key = jax.random.key(0, impl="threefry2x32")

    @staticmethod
    def batches(batch_size=4, seed=0):
        dataset = make_synthetic_loader(SOURCE, batch_size=batch_size, seed=seed, text_len=MODEL.text_len)
        return iter(dataset)

    @staticmethod
    def params():
        """numpy arrays; no parameter is at its identity start, so that every one gets a gradient."""
        rng = np.random.default_rng(0)
        shapes = functional.flatten(functional.abstract(ActAvatarDiT, MODEL))
        gains = {name: float(name.endswith("/scale")) for name in shapes}
        drawn = {name: gains[name] + 0.15 * rng.standard_normal(x.shape, np.float32) for name, x in shapes.items()}
        return functional.unflatten(drawn)

    @staticmethod
    def config(stage=2, **optim):
        """Settings as `training.loop.train` takes them: durations are numbers of steps."""
        config = (stage1 if stage == 1 else stage2).get_config()
        with config.ignore_type():
            config.update({"steps": 8, "log_every": 2, "checkpoint_every": 4})
            config.sample.every = 0
            config.optim.update({"learning_rate": 1e-3, "warmup": 1, "decay": 0, "ema_decay": 0.9, **optim})
        return config

    @functools.cache  # noqa: B019 - one world per session
    def optimizer(self, stage):
        config = self.config(stage)
        return make_optimizer(config.optim, 8, multipliers(self.params(), config.rules))

    @functools.cache  # noqa: B019
    def step(self, stage, dtype="float32"):
        config, model = self.config(stage), dataclasses.replace(MODEL, dtype=dtype)
        schedule = make_schedule(config.optim, 8)
        return make_train_step(ActAvatarDiT, model, self.optimizer(stage), TimeLaw(), schedule, config.optim.ema_decay)

    def state(self, stage):
        return TrainState.create(*partition(self.params(), self.config(stage).rules), self.optimizer(stage), ema=True)


@pytest.fixture(scope="module")
def world(quick_compilation):
    return World()


@pytest.fixture(scope="module")
def one_step(world):
    """For each stage: (weights before, state after one step, its metrics)."""
    batch = jax.device_put(next(world.batches()))
    return {stage: (world.params(), *world.step(stage)(world.state(stage), batch, world.key)) for stage in (1, 2)}
