import logging
import math

import jax
import numpy as np
import optax
import pytest
from jax.sharding import AbstractMesh, PartitionSpec

from actavatar_jax import functional
from actavatar_jax.echomimic import PRESETS, EchoMimicDiT
from actavatar_jax.errors import InputError
from actavatar_jax.models import UMT5Config, UMT5Encoder
from actavatar_jax.models.avatar import ActAvatarDiT, DiTConfig
from actavatar_jax.parallel import AXES, RULES, TEXT_ENCODER_RULES, batch_shardings, param_shardings, state_shardings
from actavatar_jax.training.state import TrainState

MESH = AbstractMesh((2, 8, 4), AXES)
EVERY_HELP = DiTConfig(phase_time="paper+soft_relay", frame_time=True, place=True, linear_guess=True)


TRANSFORMERS = [(ActAvatarDiT, EVERY_HELP), *((EchoMimicDiT, PRESETS[name]) for name in ("preview", "flash"))]


@pytest.mark.parametrize(
    ("module", "config", "rules"),
    [*((*one, RULES) for one in TRANSFORMERS), (UMT5Encoder, UMT5Config(), TEXT_ENCODER_RULES)],
)
def test_rules_cover_the_full_size_model_and_memory_falls_with_the_devices(module, config, rules):
    abstract = functional.abstract(module, config)
    names = functional.flatten(abstract)
    assert rules.uncovered(names) == []

    shardings = functional.flatten(param_shardings(abstract, MESH, rules))
    held = sum(math.prod(shardings[name].shard_shape(leaf.shape)) for name, leaf in names.items())
    assert held < 1.03 * functional.count(abstract) / 32  # fsdp x seq; what is whole is less than 3 % of that


@pytest.mark.parametrize(
    ("networks", "rules"), [(TRANSFORMERS, RULES), ([(UMT5Encoder, UMT5Config())], TEXT_ENCODER_RULES)]
)
def test_no_rule_is_idle(networks, rules):
    names = {name for network in networks for name in functional.flatten(functional.abstract(*network))}
    assert rules.idle(names) == []


def test_a_parameter_without_a_rule_is_refused():
    with pytest.raises(InputError, match="No rule says how to cut blocks/new/kernel over a mesh"):
        param_shardings({"blocks": {"new": {"kernel": jax.ShapeDtypeStruct((2, 2), np.float32)}}}, MESH)


def test_what_does_not_divide_is_whole_and_named(caplog):
    params = {"head": {"out": {"kernel": jax.ShapeDtypeStruct((48, 16), np.float32)}}}
    with caplog.at_level(logging.INFO, "actavatar_jax"):
        shardings = param_shardings(params, MESH)
    assert shardings["head"]["out"]["kernel"].spec == PartitionSpec(None)
    assert caplog.messages == ["head/out/kernel [48, 16] is whole on every device: 32 do not divide 48."]


def test_moments_and_averages_lie_where_their_parameters_do():
    params = {
        "head": {"out": {"kernel": jax.ShapeDtypeStruct((64, 16), np.float32)}},
        "time_embedding": {"linear_1": {"kernel": jax.ShapeDtypeStruct((16, 64), np.float32)}},
    }
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3))
    opt_state = jax.eval_shape(tx.init, params)
    state = TrainState(jax.ShapeDtypeStruct((), np.int32), params, {}, opt_state, params)
    shardings = state_shardings(state, MESH)

    expected = param_shardings(params, MESH)
    specs = {jax.tree.leaves(expected)[0].spec, jax.tree.leaves(expected)[1].spec}
    assert specs == {PartitionSpec(("fsdp", "seq")), PartitionSpec(None, ("fsdp", "seq"))}
    adam = shardings.opt_state[1][0]
    assert shardings.params == shardings.ema == adam.mu == adam.nu == expected
    assert shardings.step.spec == adam.count.spec == PartitionSpec()


def test_only_the_frames_of_latents_are_cut_over_seq():
    batch = dict.fromkeys(("latents", "audio", "index"))
    specs = {name: sharding.spec for name, sharding in batch_shardings(MESH, batch).items()}
    rows = PartitionSpec(("data", "fsdp"))
    assert specs == {"latents": PartitionSpec(("data", "fsdp"), "seq"), "audio": rows, "index": rows}
