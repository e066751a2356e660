"""ActAvatar in JAX: a portrait, speech and a structured prompt become a talking video."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actavatar_jax.diffusion import Sampling as Sampling
    from actavatar_jax.errors import InputError as InputError
    from actavatar_jax.media import Video as Video
    from actavatar_jax.models import presets as presets
    from actavatar_jax.pipeline import ActAvatarPipeline as ActAvatarPipeline
    from actavatar_jax.prompt import StructuredPrompt as StructuredPrompt

__version__ = "0.1.0"
__all__ = ["ActAvatarPipeline", "InputError", "Sampling", "StructuredPrompt", "Video", "__version__", "presets"]

_HOMES = {  # public name -> (module, attribute; None: the module itself)
    "ActAvatarPipeline": ("actavatar_jax.pipeline", "ActAvatarPipeline"),
    "InputError": ("actavatar_jax.errors", "InputError"),
    "Sampling": ("actavatar_jax.diffusion.sampling", "Sampling"),
    "StructuredPrompt": ("actavatar_jax.prompt", "StructuredPrompt"),
    "Video": ("actavatar_jax.media", "Video"),
    "presets": ("actavatar_jax.models.presets", None),
}


def __getattr__(name: str) -> Any:
    # Lazy: `import actavatar_jax` and `actavatar --help` stay fast; jax loads with the first use.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home, attribute = _HOMES[name]
    module = importlib.import_module(home)
    return getattr(module, attribute) if attribute else module
