"""The transformer as the sampler calls it."""

import dataclasses
import functools

import jax

from actavatar_jax.errors import InputError
from actavatar_jax.functional import Network, Params
from actavatar_jax.prompt.forms import bias_of

STRENGTH = "window_strength"  # of every block, where it is learned


@functools.partial(jax.jit, static_argnums=(0, 6))
def embed_conditions(network: Network, params, text, phase_ids, windows, audio, grid: tuple[int, int, int]):
    """`ActAvatarDiT.condition` and `.cache` as one program."""
    model = network.bind(params)
    return model.cache(model.condition(text, phase_ids, windows, audio, grid))


@functools.cache
def velocity_function(network: Network):
    """velocity(latents, timesteps, (params, conditions)): one object per network, so that programs are reused."""

    def velocity(latents, timesteps, params_and_conditions):
        params, conditions = params_and_conditions
        return network.bind(params)(latents, timesteps, conditions)

    return velocity


def in_form(network: Network, phase_time: str | None = None, rate: int | None = None) -> Network:
    """The transformer with another form in which text knows time, and for videos of another rate (frames a second);
    None: its own. InputError where it cannot have that form."""
    config = network.config
    phase_time, rate = phase_time or config.phase_time, rate or config.rate
    if _learns_strength(phase_time) and not _learns_strength(config.phase_time):
        raise InputError(f"The phase_time is {phase_time}, but these weights have learned no strength; take relay.")
    config = dataclasses.replace(config, phase_time=phase_time, latent_rate=rate / 4)
    return dataclasses.replace(network, config=config)


def fitting_params(network: Network, params: Params) -> Params:
    """Without a learned strength where the form does not read it."""
    if _learns_strength(network.config.phase_time) or STRENGTH not in params["blocks"]:
        return params
    return params | {"blocks": {name: leaf for name, leaf in params["blocks"].items() if name != STRENGTH}}


def _learns_strength(phase_time: str) -> bool:
    return bias_of(phase_time) == "soft_relay"
