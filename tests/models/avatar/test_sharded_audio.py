"""Audio attention sharded over latent frames equals the unsharded one: frames and their speech are cut alike."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

PROGRAM = """
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

from actavatar_jax.models.execution import Execution
from actavatar_jax.models.avatar import AudioAdapterConfig
from actavatar_jax.models.avatar.audio_adapter import AudioCrossAttention

config = AudioAdapterConfig(feature_layers=2, feature_width=4, hidden=8, tokens=3, token_width=8)
module = AudioCrossAttention(config, 48, 2, 24, Execution(), rngs=nnx.Rngs(0))
module.out.kernel[...] = jax.random.normal(jax.random.key(0), module.out.kernel.shape)
x = jax.random.normal(jax.random.key(1), (2, 8, 6, 48))
tokens = jax.random.normal(jax.random.key(2), (2, 8, 3, 8))
attend = jax.jit(lambda x, tokens: module(x, module.keys_values(tokens)))
alone = attend(x, tokens)

assert jax.device_count() == 8
mesh = jax.make_mesh((2, 4), ("data", "seq"), axis_types=(AxisType.Auto,) * 2)
sharded = [jax.device_put(a, NamedSharding(mesh, P("data", "seq"))) for a in (x, tokens)]
together = attend(*sharded)
np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-5)
text = attend.lower(*sharded).compile().as_text()
print("exchanges", sum(text.count(f" {op}(") for op in ("all-to-all", "all-gather", "collective-permute")))
"""


def test_eight_devices_agree_with_one_and_exchange_nothing():
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    run = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "exchanges 0"
