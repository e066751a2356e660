"""LoRA training (arXiv 2106.09685): low-rank leaves beside the kernels of the blocks; they alone learn."""

import dataclasses
import re
import typing

import jax
import jax.numpy as jnp

from actavatar_jax import functional
from actavatar_jax.checks import COUNT, POSITIVE, check_fields
from actavatar_jax.errors import InputError
from actavatar_jax.functional import Network, Params, random_key
from actavatar_jax.functional.kernels import LOW_RANK
from actavatar_jax.models import MATRICES
from actavatar_jax.models.avatar import FLOAT32
from actavatar_jax.parallel import ParameterGroups
from actavatar_jax.training.groups import Rates

KERNELS = ((MATRICES, True), (r".*", False))  # which get low-rank leaves, where nothing else is said
RATES = Rates(((r".*/lora_[ab]", 1.0), (r".*", None)))  # what learns in a model that has them


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class LoraSettings:
    """What is added to kernels. InputError for values that are not accepted."""

    rank: int
    alpha: float  # over the rank, the scale of what is added
    rules: ParameterGroups = ParameterGroups(KERNELS)  # noqa: RUF009 - frozen; whether a kernel gets the leaves

    def __post_init__(self):
        check_fields(self, "setting lora.", rank=COUNT, alpha=POSITIVE)


def abstract_params(network: Network, settings: LoraSettings | None) -> Params:
    """The shapes of a network's parameters in a training, with what is added to them.

    Beside low-rank leaves all others are frozen, so that they need not be finer than the products that they are for.
    """
    shapes = functional.abstract(network.module, network.config)
    if settings is None:
        return shapes

    def extended(flat: Params) -> Params:
        kept, lowered = functional.split(flat, FLOAT32)
        lowered = functional.cast(lowered, network.execution.dtype)
        return add_low_rank(functional.unflatten(kept | lowered), settings, seed=0)

    return jax.eval_shape(extended, functional.flatten(shapes))


def add_low_rank(params: Params, settings: LoraSettings | None, seed: int) -> Params:
    """Parameters with `lora_a`, `lora_b` and `lora_scale` beside the kernels that the rules choose; None adds nothing.

    `lora_a` is drawn as PEFT draws it, uniform up to 1 / sqrt(inputs); `lora_b` is zero, so that nothing changes yet.
    Raises InputError for rules that choose nothing, or something else than kernels of the blocks.
    """
    if settings is None:
        return params
    flat = functional.flatten(params)
    chosen = [name for name, wanted in settings.rules.values(flat).items() if wanted]
    wrong = [name for name in chosen if not re.fullmatch(r"blocks/.*/kernel", name)] or ["no parameter"] * (not chosen)
    if wrong:
        raise InputError(f"The setting lora.rules chooses {wrong[0]}; accepted are kernels of the blocks.")
    for name, drawn in zip(chosen, jax.random.split(random_key(seed), len(chosen)), strict=True):
        layers, inputs, outputs = flat[name].shape
        a = jax.random.uniform(drawn, (layers, inputs, settings.rank), minval=-1, maxval=1) / inputs**0.5
        b, scale = jnp.zeros((layers, settings.rank, outputs)), jnp.full((layers,), settings.alpha / settings.rank)
        layer = name.removesuffix("kernel")
        flat |= {layer + own: leaf for own, leaf in zip(LOW_RANK, (a, b, scale), strict=True)}
    return functional.unflatten(flat)
