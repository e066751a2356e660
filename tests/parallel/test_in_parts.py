import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.training.step import _average, in_parts

X = np.random.default_rng(0).standard_normal((6, 2)).astype(np.float32)
BATCH = {"x": jnp.asarray(X), "index": jnp.arange(6)}


def gradients_of(batch):
    """Of mean((w x)^2) at w = 1."""
    losses = jnp.square(batch["x"]).sum(axis=1)
    return {"w": 2 * losses.mean()}, (losses, batch["index"].astype(jnp.float32))


def test_micro_batches_give_the_mean_gradient_and_every_sample_once():
    (whole, (losses, _)), (parts, (again, index)) = in_parts(gradients_of, BATCH, 1), in_parts(gradients_of, BATCH, 3)
    np.testing.assert_allclose(parts["w"], whole["w"], rtol=1e-6)
    order = np.asarray(index, int)
    assert sorted(order) == list(range(6))
    np.testing.assert_allclose(again, np.asarray(losses)[order], rtol=1e-6)  # sums of another program


def test_neighbours_stay_on_their_device():
    """A device of two holds samples 0 to 2 of 6: it must hold half of each of three parts."""
    index = in_parts(gradients_of, BATCH, 3)[1][1].reshape(3, 2)
    assert [set(part) for part in (np.asarray(index) // 3).tolist()] == [{0.0, 1.0}] * 3


def test_micro_batches_that_do_not_divide_are_refused():
    with pytest.raises(InputError, match="A batch of 6 cannot be computed in 4 micro-batches"):
        in_parts(gradients_of, BATCH, 4)


@pytest.mark.parametrize(("skipped", "expected"), [(False, 1.5), (True, 1.0)])
def test_the_average_moves_on_good_steps_only(skipped, expected):
    old, new = {"w": jnp.ones(2)}, {"w": jnp.full(2, 2.0)}
    average = jax.jit(_average, static_argnums=2)(old, new, 0.5, jnp.asarray(skipped))
    np.testing.assert_array_equal(average["w"], [expected] * 2)
