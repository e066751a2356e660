"""Structured prompts: what a video shows, and when; their syntaxes, tokens and phase ids."""

from actavatar_jax.prompt.structured import MAX_TOKENS, Phase, StructuredPrompt, Tokenizer

__all__ = ["MAX_TOKENS", "Phase", "StructuredPrompt", "Tokenizer"]
