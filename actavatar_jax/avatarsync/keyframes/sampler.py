"""Keyframes drawn token by token: as many steps as a frame has tokens, however many keyframes there are.

C clips, T frames, U units that a frame sees, N tokens of a frame, V codes.
"""

import dataclasses
import functools
import typing

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from actavatar_jax.avatarsync.keyframes.mask import Seen
from actavatar_jax.avatarsync.units.table import NULL, unit_table
from actavatar_jax.checks import COUNT, NOT_NEGATIVE, POSITIVE, Limit, check_fields, one_of
from actavatar_jax.functional import Network, Params


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class KeyframeSampling:
    """How tokens are chosen.

    With `shared` noise all frames of a clip draw with the same noise, which leaves the distribution of each as it is:
    they differ only where what they show differs. With `independent` noise pose and gaze jump between keyframes.
    """

    top_k: int = 12
    temperature: float = 1.0
    guidance: float = 1.5  # 1: none; above, away from what would be shown without a unit
    noise: str = "shared"

    LIMITS: typing.ClassVar[dict[str, Limit]] = {
        "top_k": COUNT,
        "temperature": POSITIVE,
        "guidance": NOT_NEGATIVE,
        "noise": one_of("shared", "independent"),
    }

    def __post_init__(self):
        check_fields(self, "keyframe sampling's ", **self.LIMITS)


def sample_keyframes(
    network: Network,
    params: Params,
    reference: Int[Array, "C N"],
    seen: Seen,
    keys: Key[Array, " C"],
    sampling: KeyframeSampling = KeyframeSampling(),
    frames: Int[Array, " T"] | None = None,
) -> Int[Array, "C T N"]:
    """Tokens of keyframes; the same for a clip and a frame whatever else is drawn with it.

    Args:
      network: a `KeyframeTransformer`.
      params: its parameters.
      reference: tokens of the portrait.
      seen: the units that each frame sees, of `seen_units`.
      keys: one for each clip.
      sampling: how tokens are chosen.
      frames: numbers of the frames in their clip, which tell their independent noises apart; None: from 0 on.
    """
    frames = jnp.arange(seen.ids.shape[1]) if frames is None else frames
    scales = jnp.asarray([sampling.temperature, sampling.guidance], jnp.float32)
    static = (network, sampling.top_k, sampling.noise == "shared", sampling.guidance != 1)
    return _sample(*static, params, reference, seen, keys, scales, frames)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _sample(
    network: Network,
    top_k: int,
    shared: bool,
    guided: bool,
    params: Params,
    reference: Int[Array, "C N"],
    seen: Seen,
    keys: Key[Array, " C"],
    scales: Float[Array, "2"],
    frames: Int[Array, " T"],
) -> Int[Array, "C T N"]:
    model = network.bind(params)
    (C, T, _), temperature, guidance = seen.ids.shape, scales[0], scales[1]
    if guided:  # the same frames without their units, behind the others: both share the prefix
        null = jnp.full_like(seen.ids, unit_table().id(NULL))
        seen = Seen(*(jnp.concatenate(pair, axis=1) for pair in ((seen.ids, null), (seen.there, seen.there))))
    conditions = model.condition(reference, seen, model.unit_table())
    cache = model.empty_cache(C, seen.ids.shape[1])

    def step(carry, slot):
        before, cache = carry
        both = jnp.concatenate([before, before], axis=1) if guided else before
        logits, cache = model.step(slot, both, cache, conditions)
        if guided:
            told, null = jnp.split(logits, 2, axis=1)
            logits = null + guidance * (told - null)
        noise = _noise(keys, slot, frames, shared, logits.shape[-1])
        token = jnp.argmax(_largest(logits / temperature, top_k) + noise, axis=-1)
        return (token, cache), token

    start = jnp.zeros((C, T), reference.dtype)
    _, tokens = jax.lax.scan(step, (start, cache), jnp.arange(reference.shape[1]))
    return jnp.moveaxis(tokens, 0, -1)


def _noise(
    keys: Key[Array, " C"], slot: Int[Array, ""], frames: Int[Array, " T"], shared: bool, codes: int
) -> Float[Array, "C #T V"]:
    """Gumbel noise: the largest of logits plus noise is a draw of their softmax."""

    def of_clip(key: Key[Array, ""]) -> Float[Array, "#T V"]:
        key = jax.random.fold_in(key, slot)
        if shared:
            return jax.random.gumbel(key, (1, codes))
        return jax.vmap(lambda frame: jax.random.gumbel(jax.random.fold_in(key, frame), (codes,)))(frames)

    return jax.vmap(of_clip)(keys)


def _largest(logits: Float[Array, "C T V"], top_k: int) -> Float[Array, "C T V"]:
    """The `top_k` largest, nothing of the others."""
    if top_k >= logits.shape[-1]:
        return logits
    smallest = jax.lax.top_k(logits, top_k)[0][..., -1:]
    return jnp.where(logits < smallest, -jnp.inf, logits)
