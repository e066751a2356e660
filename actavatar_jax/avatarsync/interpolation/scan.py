"""The selective scan: a linear recurrence whose steps depend on what is read (arXiv 2312.00752), on any accelerator.

B sequences, L steps, D channels, N numbers of state for each channel.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def selective_scan(
    u: Float[Array, "B L D"],
    delta: Float[Array, "B L D"],
    a: Float[Array, "D N"],
    b: Float[Array, "B L N"],
    c: Float[Array, "B L N"],
    skip: Float[Array, " D"],
    chunk: int,
) -> Float[Array, "B L D"]:
    """`h_t = exp(delta_t a) h_{t-1} + delta_t b_t u_t`, `y_t = c_t h_t + skip u_t`, from h = 0, in float32.

    Within `chunk` steps by an associative scan, from chunk to chunk one after the other: states are there for one chunk
    at a time, forwards and backwards. `a` is negative and nothing is divided, so what underflows does no harm.
    """
    length = u.shape[1]
    parts = [_in_chunks(part.astype(jnp.float32), chunk) for part in (u, delta, b, c)]
    start = jnp.zeros((len(u), *a.shape), jnp.float32)

    @jax.checkpoint
    def step(state, part):
        u, delta, b, c = part
        decay = jnp.exp(delta[..., None] * a[None, None])
        added = (delta * u)[..., None] * b[:, :, None]
        decays, sums = jax.lax.associative_scan(_compose, (decay, added), axis=1)
        states = decays * state[:, None] + sums
        return states[:, -1], jnp.einsum("bldn,bln->bld", states, c)

    _, y = jax.lax.scan(step, start, tuple(parts))
    y = jnp.moveaxis(y, 0, 1).reshape(len(u), -1, u.shape[-1])[:, :length]
    return y + skip[None, None] * u


def _compose(
    earlier: tuple[Array, Array], later: tuple[Array, Array]
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Two steps `h -> a h + b` as one."""
    (a1, b1), (a2, b2) = earlier, later
    return a2 * a1, a2 * b1 + b2


def _in_chunks(x: Float[Array, "B L D"], chunk: int) -> Float[Array, "chunks B {chunk} D"]:
    """Filled up with zeros: a step of no length changes nothing."""
    x = jnp.pad(x, ((0, 0), (0, -x.shape[1] % chunk), (0, 0)))
    return jnp.moveaxis(x.reshape(len(x), -1, chunk, x.shape[-1]), 1, 0)
