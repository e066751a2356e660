"""LoRA training: nothing changes at its start, its leaves alone learn, and what they learn can be read as a file."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.parallel import ParameterGroups
from actavatar_jax.training.loop import train
from actavatar_jax.training.lora import RATES, LoraSettings, add_low_rank
from actavatar_jax.weights import folder, lora

pytestmark = pytest.mark.slow

LORA = LoraSettings(rank=3, alpha=6.0)


def velocity(world, params):
    batch = jax.tree.map(jnp.asarray, next(world.batches()))
    grid = batch["latents"].shape[1:4]

    @jax.jit
    def compute(params):
        model = world.network.bind(params)
        conditions = model.condition(*(batch[name] for name in ("text", "phase_ids", "phase_windows", "audio")), grid)
        times = jnp.full(batch["latents"].shape[:2], 500.0)
        return model(batch["latents"].astype(jnp.float32), times, conditions)

    return compute(jax.tree.map(np.asarray, params))


def test_leaves_are_added_to_the_kernels_of_the_blocks(world):
    before = functional.flatten(world.params())
    after = functional.flatten(add_low_rank(world.params(), LORA, 0))
    kernels = {name for name in before if name.startswith("blocks/") and name.endswith("kernel")}
    added = set(after) - set(before)
    assert added == {name.replace("kernel", own) for name in kernels for own in ("lora_a", "lora_b", "lora_scale")}
    assert after["blocks/ffn/up/lora_a"].shape == (2, 32, 3) and after["blocks/ffn/up/lora_b"].shape == (2, 3, 64)
    assert (after["blocks/ffn/up/lora_scale"] == 2.0).all() and not after["blocks/ffn/up/lora_b"].any()
    a = np.asarray(after["blocks/ffn/down/lora_a"])
    assert 0.9 * 64**-0.5 < np.abs(a).max() <= 64**-0.5
    assert not np.array_equal(a[0], a[1])
    assert not np.array_equal(after["blocks/self_attn/query/lora_a"], after["blocks/self_attn/key/lora_a"])


def test_nothing_changes_at_the_start(world):
    np.testing.assert_array_equal(
        velocity(world, world.params()), velocity(world, add_low_rank(world.params(), LORA, 0))
    )


def test_shapes_are_enough(world):
    got = jax.eval_shape(lambda params: add_low_rank(params, LORA, 0), world.params())
    wanted = add_low_rank(world.params(), LORA, 0)
    assert jax.tree.map(lambda leaf: leaf.shape, got) == jax.tree.map(lambda leaf: leaf.shape, wanted)


def test_without_settings_nothing_is_added(world):
    params = world.params()
    assert add_low_rank(params, None, 0) is params


def test_rules_choose_kernels(world):
    rules = ParameterGroups(((r"blocks/self_attn/(query|value)/kernel", True), (r".*", False)))
    added = add_low_rank(world.params(), dataclasses.replace(LORA, rules=rules), 0)
    names = {name for name in functional.flatten(added) if "lora_a" in name}
    assert names == {"blocks/self_attn/query/lora_a", "blocks/self_attn/value/lora_a"}


@pytest.mark.parametrize(
    ("regex", "problem"),
    [
        (r"blocks/fnn/.*", "chooses no parameter"),
        (r"head/out/kernel", "chooses head/out/kernel"),
        (r"blocks/ffn/.*", "chooses blocks/ffn/down/bias"),
    ],
)
def test_rules_that_choose_anything_else_are_refused(world, regex, problem):
    settings = dataclasses.replace(LORA, rules=ParameterGroups(((regex, True),)))
    with pytest.raises(InputError, match=problem):
        add_low_rank(world.params(), settings, 0)


@pytest.mark.parametrize("wrong", [{"rank": 0}, {"rank": 1.5}, {"alpha": 0.0}])
def test_settings_are_checked(wrong):
    with pytest.raises(InputError, match="setting lora"):
        dataclasses.replace(LORA, **wrong)


@pytest.fixture(scope="module")
def trained(world, tmp_path_factory):
    """The state after training on what the stages train on, and the seed's own leaves."""
    return run(world, tmp_path_factory.mktemp("lora"))


def run(world, workdir):
    settings = dataclasses.replace(world.settings(), rules=RATES, lora=LORA)
    return train(settings, world.network, world.open_params, world.batches(), workdir, described={})


def test_they_alone_learn(world, trained):
    before = functional.flatten(add_low_rank(world.params(), LORA, 0))
    learnt, frozen = functional.flatten(trained.params), functional.flatten(trained.frozen)
    assert {name.rpartition("/")[2] for name in learnt} == {"lora_a", "lora_b"}
    for name, leaf in frozen.items():
        np.testing.assert_array_equal(leaf, before[name], err_msg=name)
    for name, leaf in learnt.items():
        assert not np.array_equal(leaf, before[name]), name
    assert {leaf.shape for leaf in jax.tree.leaves(trained.opt_state)} <= {
        (),
        (2,),
        *(leaf.shape for leaf in learnt.values()),
    }  # moments are those of the added leaves


@pytest.mark.slow
def test_what_is_learnt_can_be_read_as_a_file(world, trained, tmp_path):
    folder.save(tmp_path, "transformer", world.model, world.params())
    lora.write(tmp_path / "lora.safetensors", trained.weights, world.model)
    merged = folder.load(tmp_path, "transformer", loras=[tmp_path / "lora.safetensors"])
    got, wanted = velocity(world, merged.params), velocity(world, trained.weights)
    assert np.abs(wanted - velocity(world, world.params())).max() > 1e-3 * np.abs(wanted).max()
    np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-5 * np.abs(wanted).max())


def test_a_run_that_goes_on_has_the_same_leaves(world, tmp_path):
    before = run(world, tmp_path).weights
    again = run(world, tmp_path).weights  # from the checkpoint of its last step; the base is read anew
    jax.tree.map(np.testing.assert_array_equal, again, before)
