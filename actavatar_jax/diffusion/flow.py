"""The flow: straight path between data and noise, its velocity, the loss, and the law of training times.

Time `t` runs from 0 (data) to 1 (noise). Latents are [B, T, H, W, C]. Latent frame 0 is a clean condition: it is
never noised, its timestep is 0, and the loss leaves it out.

B batch, T latent frames, H W latent height and width, C latent channels.
"""

import typing
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer, Key

from actavatar_jax.checks import POSITIVE, SHARE, check_fields, whole
from actavatar_jax.errors import InputError

TRAIN_STEPS = 1000  # the model reads times as TRAIN_STEPS * t

Times = Float[Array, "*n"] | Float[np.ndarray, "*n"] | float


def interpolate(
    data: Float[Array, "B T H W C"], noise: Float[Array, "B T H W C"], t: Float[Array, "B"] | Float[Array, "B T"]
) -> Float[Array, "B T H W C"]:
    """The point (1 - t) data + t noise of the path (eq. 6), in float32; `t` is per sample or per latent frame."""
    t = t.astype(jnp.float32).reshape(t.shape + (1,) * (data.ndim - t.ndim))
    return (1 - t) * data.astype(jnp.float32) + t * noise.astype(jnp.float32)


def velocity(data: Float[Array, "*shape"], noise: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """What the model learns: noise - data (eq. 7), in float32."""
    return noise.astype(jnp.float32) - data.astype(jnp.float32)


def flow_loss(predicted: Float[Array, "B T H W C"], target: Float[Array, "B T H W C"]) -> Float[Array, "B"]:
    """Mean squared error of each sample (eq. 8, 10) over every latent frame but the clean frame 0, in float32."""
    if predicted.shape[1] < 2:
        raise InputError("The flow loss leaves out latent frame 0, so clips need at least 2 latent frames; this has 1.")
    error = predicted[:, 1:].astype(jnp.float32) - target[:, 1:].astype(jnp.float32)
    return jnp.mean(jnp.square(error), axis=(1, 2, 3, 4))


def frame_times(t: Float[Array, "B"], frames: int, clean_first: bool = True) -> Float[Array, "B {frames}"]:
    """Timesteps the model reads, one per latent frame: 1000 t, and 0 on the clean frame 0."""
    return spread_times(TRAIN_STEPS * t.astype(jnp.float32), frames, clean_first)


def spread_times(times: Float[Array, "B"], frames: int, clean_first: bool) -> Float[Array, "B {frames}"]:
    """The same model timestep on all latent frames of a sample, but 0 on frame 0 if that one is clean."""
    noisy = np.arange(frames) >= int(clean_first)
    return times[:, None] * jnp.asarray(noisy, times.dtype)[None, :]


def keep_first_frame(
    latents: Float[Array, "B T H W C"], first: Float[Array, "B 1 H W C"] | None
) -> Float[Array, "B T H W C"]:
    """`latents` with latent frame 0 replaced by the clean one; unchanged when there is none (text to video)."""
    return latents if first is None else latents.at[:, :1].set(first.astype(latents.dtype))


def shift_time(u: Times, shift: float) -> Times:
    """Warp of [0, 1] towards noise, s u / (1 + (s - 1) u): shift 1 changes nothing, 5 puts the middle at 0.833."""
    return shift * u / (1 + (shift - 1) * u)


@typing.no_type_check  # of its fields it does so itself, in sentences
@dataclass(frozen=True)
class TimeLaw:
    """How training times are drawn: a uniform index over `steps` levels, warped by `shift`, without loss weight.

    That is the sequence k/1000 shifted by 5 which public trainings of the backbone use. A backbone trained from
    scratch learns event timing faster when a share of its draws is almost pure noise: `noisy_share` of the times
    come uniformly from [noisy_from, 1] instead.
    """

    shift: float = 5.0
    steps: int = TRAIN_STEPS
    noisy_share: float = 0.0
    noisy_from: float = 0.9

    def __post_init__(self):
        steps = whole(1, 2**24)  # more are not told apart in float32
        check_fields(self, "setting time_law.", shift=POSITIVE, steps=steps, noisy_share=SHARE, noisy_from=SHARE)

    def sample(self, keys: Key[Array, "B"]) -> Float[Array, "B"]:
        """One time in (0, 1] for each key."""

        def draw(key):
            choice, index, level = jax.random.split(key, 3)
            regular = shift_time(jax.random.randint(index, (), 1, self.steps + 1) / self.steps, self.shift)
            noisy = 1 - (1 - self.noisy_from) * jax.random.uniform(level)
            return jnp.where(jax.random.uniform(choice) < self.noisy_share, noisy, regular)

        return jax.vmap(draw)(keys)


def sample_keys(key: Key[Array, ""], ids: Integer[Array, "B"] | Integer[np.ndarray, "B"]) -> Key[Array, "B"]:
    """One key per sample, by its id: draws then depend on neither the rest of the batch nor the mesh."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, ids)


def gaussian(keys: Key[Array, "B"], shape: tuple[int, ...]) -> Float[Array, "B ..."]:
    """Standard normal float32 noise [B, *shape], each sample from its own key."""
    return jax.vmap(lambda key: jax.random.normal(key, shape))(keys)
