"""Asking a multimodal model over HTTP: any server that speaks the OpenAI chat protocol, or Gemini; with retries."""

from actavatar_jax.chat.attempts import Client, Message
from actavatar_jax.chat.client import ChatClient
from actavatar_jax.chat.completions import Answer, Usage
from actavatar_jax.chat.gemini import GeminiClient
from actavatar_jax.chat.parts import picture_part, text_part
from actavatar_jax.chat.pool import ChatPool
from actavatar_jax.chat.servers import GEMINI, Server

__all__ = [
    "GEMINI",
    "Answer",
    "ChatClient",
    "ChatPool",
    "Client",
    "GeminiClient",
    "Message",
    "Server",
    "Usage",
    "open_client",
    "picture_part",
    "text_part",
]


def open_client(server: Server) -> Client:
    """The client of a server's protocol. InputError: a package for it is not installed, or a key is missing."""
    return {"openai": ChatClient, "gemini": GeminiClient}[server.protocol](server)
