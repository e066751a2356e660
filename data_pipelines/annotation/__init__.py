"""Structured prompts from a multimodal model: what happens in a clip (`annotate`), or what should happen (`write`)."""
