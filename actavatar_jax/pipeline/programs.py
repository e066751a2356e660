"""The transformer as the sampler calls it."""

import functools

import jax

from actavatar_jax.functional import Network


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
