"""ActAvatar in JAX: a portrait, speech and a structured prompt become a talking video."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actavatar_jax.pipeline import ActAvatarPipeline as ActAvatarPipeline
    from actavatar_jax.prompt import StructuredPrompt as StructuredPrompt

__version__ = "0.1.0"
__all__ = ["ActAvatarPipeline", "StructuredPrompt", "__version__"]


def __getattr__(name: str):
    # Lazy: `import actavatar_jax` and `actavatar --help` stay fast; jax loads with the first use.
    if name == "ActAvatarPipeline":
        from actavatar_jax.pipeline import ActAvatarPipeline

        return ActAvatarPipeline
    if name == "StructuredPrompt":
        from actavatar_jax.prompt import StructuredPrompt

        return StructuredPrompt
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
