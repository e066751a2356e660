"""A world small enough to compile in seconds: a transformer of two blocks and made-up clips of three latent frames."""

import jax
import numpy as np
import pytest

from actavatar_jax.diffusion.flow import TimeLaw
from actavatar_jax.models import functional
from actavatar_jax.models.audio_adapter import AudioAdapterConfig
from actavatar_jax.models.dit import ActAvatarDiT, DiTConfig
from actavatar_jax.training.optimizer import make_optimizer, make_schedule
from actavatar_jax.training.stages import multipliers, partition
from actavatar_jax.training.state import TrainState
from actavatar_jax.training.step import make_train_step
from configs import stage1, stage2
from data_pipelines.buckets import Bucket
from data_pipelines.synthetic import SyntheticSource, make_synthetic_loader

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
            config.optim.update({"learning_rate": 1e-3, "warmup": 1, **optim})
        return config

    def start(self, stage, model=MODEL, **optim):
        """(jitted step, fresh state) of a stage."""
        config = self.config(stage, **optim)
        params = self.params()
        speeds = multipliers(params, config.rules)
        tx, schedule = make_optimizer(config.optim, 8, speeds), make_schedule(config.optim, 8)
        step = make_train_step(ActAvatarDiT, model, tx, TimeLaw(), schedule, config.optim.ema_decay)
        state = TrainState.create(*partition(params, config.rules), tx, ema=config.optim.ema_decay > 0)
        return step, state


@pytest.fixture(scope="session")
def world():
    return World()


@pytest.fixture(scope="session")
def one_step(world):
    """For each stage: (weights before, state after one step, its metrics)."""
    batch = jax.device_put(next(world.batches()))
    result = {}
    for stage in (1, 2):
        step, state = world.start(stage)
        before = world.params()
        result[stage] = (before, *step(state, batch, world.key))
    return result
