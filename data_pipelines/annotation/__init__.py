"""Structured prompts from a multimodal model: what happens in clips, or what should happen with a speech."""

from actavatar_jax.chat import ChatClient, Server
from data_pipelines.annotation.annotate import annotate_clips
from data_pipelines.annotation.write import write_prompt

__all__ = ["ChatClient", "Server", "annotate_clips", "write_prompt"]
