import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import AbstractMesh, PartitionSpec

from actavatar_jax.models.attention import SAVED
from actavatar_jax.models.avatar.model import rematerialised
from actavatar_jax.parallel import BATCH, SEQ, constrain, fitting, tokens_to_heads
from actavatar_jax.parallel.layout import ALL


def test_without_a_mesh_nothing_is_done():
    x = jnp.ones((2, 4, 2, 3))
    assert constrain(x, BATCH, SEQ) is x
    assert all(a is x for a in tokens_to_heads(x, x, x))


@pytest.mark.parametrize(
    ("shape", "axes", "expected"),
    [
        ((8, 4), (BATCH, SEQ), PartitionSpec(BATCH, (SEQ,))),
        ((2, 4), (BATCH, SEQ), PartitionSpec(("data",), (SEQ,))),  # two branches on 2 x 2: fsdp repeats them
        ((1, 3), (BATCH, SEQ), PartitionSpec(None, None)),
        ((3, 16), (None, ALL), PartitionSpec(None, ALL)),
    ],
)
def test_axes_that_do_not_divide_are_left_out(shape, axes, expected):
    with jax.sharding.use_abstract_mesh(AbstractMesh((2, 2, 4), ALL)):
        assert fitting(shape, axes) == expected


@pytest.mark.parametrize(("policy", "sines"), [("none", 1), ("full", 2), ("attention", 1), ("offload", 1)])
def test_attention_outputs_are_computed_again_only_where_the_policy_says_so(policy, sines):
    """A scan whose only named value is a sine, counted in the program of its gradient."""

    def loss(x):
        body = rematerialised(lambda x, _: (jnp.square(checkpoint_name(jnp.sin(x), SAVED)), None), policy)
        return jax.lax.scan(body, x, None, length=3)[0].sum()

    program = str(jax.make_jaxpr(jax.grad(loss))(np.ones(2, np.float32)))
    assert program.count("= sin ") == sines
    assert ("pinned_host" in program.lower() or "<host>" in program) == (policy == "offload")
