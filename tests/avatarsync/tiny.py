"""AvatarSync in sizes of a toy, with random weights."""

from actavatar_jax.avatarsync import InterpolatorConfig, KeyframeConfig, KeyframeSampling, Part, Parts, SmallLFQConfig
from actavatar_jax.avatarsync.folder import MODULES
from actavatar_jax.functional import Network
from tests.avatarsync.drawn import random_params

CONFIGS = {
    "tokenizer": lambda **c: SmallLFQConfig(widths=(8, 16), patch=4, tokens=(4, 4), bits=5, groups=4, **c),
    "keyframes": lambda **c: KeyframeConfig(
        **{"width": 16, "heads": 2, "layers": 2, "ffn": 32, "vocabulary": 32, "tokens": (4, 4), **c}
    ),
    "interpolator": lambda **c: InterpolatorConfig(channels=4, depths=(1, 1, 1, 1, 1), **c),
}


def tiny_part(name, **changes):
    network = Network(MODULES[name], CONFIGS[name](**changes))
    return Part(network, random_params(network.module, network.config))


def tiny_parts(visible="one_to_one", sampling=None, **keyframes):
    parts = {name: tiny_part(name) for name in ("tokenizer", "interpolator")}
    keyframes = tiny_part("keyframes", visible=visible, **keyframes)
    return Parts(**parts, keyframes=keyframes, sampling=sampling or KeyframeSampling())
