"""The flow: straight path between data and noise, its velocity, the loss, and the law of training times.

Time `t` runs from 0 (data) to 1 (noise). Latents are [B, T, H, W, C]. Latent frame 0 is a clean condition, and so are
the first few where a video goes on: they are never noised, their timestep is 0, and the loss leaves them out.

B batch, T latent frames, K clean ones, H W latent height and width, C latent channels.
"""

import typing
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer, Key

from actavatar_jax.checks import POSITIVE, SHARE, check_fields, whole
from actavatar_jax.errors import InputError

MOST_CLEAN = 100  # latent frames: 16 s
TRAIN_STEPS = 1000  # the model reads times as TRAIN_STEPS * t

Clean = int | Integer[Array, "B"]  # clean latent frames at the begin of every sample, or of each one
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


def flow_loss(
    predicted: Float[Array, "B T H W C"],
    target: Float[Array, "B T H W C"],
    clean: Clean = 1,
    weights: Float[Array, "B T H W"] | None = None,
) -> Float[Array, "B"]:
    """Mean squared error of each sample (eq. 8, 10) over every latent frame but the clean ones, in float32.

    Every sample needs a frame that is not clean. With positive `weights` it is the mean that they weigh.
    """
    if predicted.shape[1] < 2 and not (isinstance(clean, int) and clean == 0):
        raise InputError("The flow loss leaves out latent frame 0, so clips need at least 2 latent frames; this has 1.")
    error = jnp.square(predicted.astype(jnp.float32) - target.astype(jnp.float32)).mean(axis=4)
    noisy = noisy_frames(predicted.shape[1], clean)
    if weights is None:
        return jnp.where(noisy, error.mean(axis=(2, 3)), 0).sum(axis=1) / noisy.sum(axis=1)
    weights = jnp.where(noisy[:, :, None, None], weights, 0)
    return (weights * error).sum(axis=(1, 2, 3)) / weights.sum(axis=(1, 2, 3))


def noisy_frames(frames: int, clean: Clean) -> Bool[Array, "_ {frames}"]:
    """Which latent frames of each sample come after its `clean` ones; a row for all samples or one for each."""
    return jnp.arange(frames)[None] >= jnp.asarray(clean).reshape(-1, 1)


def frame_times(t: Float[Array, "B"], frames: int, clean: Clean = 1) -> Float[Array, "B {frames}"]:
    """Timesteps the model reads, one per latent frame: 1000 t, and 0 on the clean ones."""
    return spread_times(TRAIN_STEPS * t.astype(jnp.float32), frames, clean)


def spread_times(times: Float[Array, "B"], frames: int, clean: Clean) -> Float[Array, "B {frames}"]:
    """The same model timestep on all latent frames of a sample, but 0 on those at its begin that are clean."""
    return times[:, None] * noisy_frames(frames, clean).astype(times.dtype)


def keep_clean(
    latents: Float[Array, "B T H W C"], clean: Float[Array, "B K H W C"] | None
) -> Float[Array, "B T H W C"]:
    """`latents` with the first ones replaced by the clean ones; unchanged when there are none (text to video)."""
    return latents if clean is None else latents.at[:, : clean.shape[1]].set(clean.astype(latents.dtype))


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

    Where videos are to go on from more than a picture, so do samples: from 1 to `clean` latent frames of each, evenly
    drawn, are clean.
    """

    shift: float = 5.0
    steps: int = TRAIN_STEPS
    noisy_share: float = 0.0
    noisy_from: float = 0.9
    clean: int = 1

    def __post_init__(self):
        steps = whole(1, 2**24)  # more are not told apart in float32
        shares = dict.fromkeys(("noisy_share", "noisy_from"), SHARE)
        check_fields(self, "setting time_law.", shift=POSITIVE, steps=steps, clean=whole(1, MOST_CLEAN), **shares)

    def sample(self, keys: Key[Array, "B"]) -> Float[Array, "B"]:
        """One time in (0, 1] for each key."""

        def draw(key):
            choice, index, level = jax.random.split(key, 3)
            regular = shift_time(jax.random.randint(index, (), 1, self.steps + 1) / self.steps, self.shift)
            noisy = 1 - (1 - self.noisy_from) * jax.random.uniform(level)
            return jnp.where(jax.random.uniform(choice) < self.noisy_share, noisy, regular)

        return jax.vmap(draw)(keys)

    def draw_clean(self, keys: Key[Array, "B"], frames: int) -> Clean:
        """How many latent frames of each sample are clean, never all of its `frames`."""
        if self.clean == 1:
            return 1
        most = min(self.clean, frames - 1)
        return jax.vmap(lambda key: jax.random.randint(jax.random.fold_in(key, 0), (), 1, most + 1))(keys)


def sample_keys(key: Key[Array, ""], ids: Integer[Array, "B"] | Integer[np.ndarray, "B"]) -> Key[Array, "B"]:
    """One key per sample, by its id: draws then depend on neither the rest of the batch nor the mesh."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, ids)


def gaussian(keys: Key[Array, "B"], shape: tuple[int, ...]) -> Float[Array, "B ..."]:
    """Standard normal float32 noise [B, *shape], each sample from its own key."""
    return jax.vmap(lambda key: jax.random.normal(key, shape))(keys)
