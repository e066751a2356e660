"""Structured prompts: what a video shows, and when; their syntaxes, tokens and phase ids."""

from actavatar_jax.prompt.structured import Phase, StructuredPrompt
from actavatar_jax.prompt.tokens import MAX_TOKENS, Tokenizer

__all__ = ["MAX_TOKENS", "Phase", "StructuredPrompt", "Tokenizer"]
