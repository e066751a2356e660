"""Asking a multimodal model over HTTP: any server that speaks the OpenAI chat protocol, with retries and a pace."""

from actavatar_jax.chat.client import ChatClient, Message
from actavatar_jax.chat.completions import Answer, Usage
from actavatar_jax.chat.pool import ChatPool
from actavatar_jax.chat.servers import Server

__all__ = ["Answer", "ChatClient", "ChatPool", "Message", "Server", "Usage"]
