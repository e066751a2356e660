"""Where a multimodal model is and how it is asked. What is secret of that is used, and said or stored nowhere."""

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from actavatar_jax.errors import InputError
from actavatar_jax.storage import cut

GEMINI = "https://generativelanguage.googleapis.com"

_MASK = "***"


@dataclass(frozen=True)
class Server:
    """An address and how it is asked; InputError, which quotes no secret, where it is none.

    `url` may have a user and a password, `http://user:password@host/v1`; `address` is what may be told of it.
    """

    url: str = field(repr=False)  # with its version: http://localhost:8000/v1
    model: str
    key: str | None = field(default=None, repr=False)
    audio_part: str = "audio_url"  # vLLM and sglang-jax know it; hosted servers know "input_audio" only
    seed: int = 0
    temperature: float | int = 0
    timeout: float | int = 180  # seconds for one attempt, from the connection to the last byte of the answer
    attempts: int = 5
    backoff: float | int = 1  # seconds before the second attempt; doubled before each further one
    per_minute: float | int | None = None  # requests, attempts included
    protocol: Literal["openai", "gemini"] = "openai"

    def __post_init__(self):
        object.__setattr__(self, "url", self.url.strip().rstrip("/"))
        object.__setattr__(self, "key", (self.key or "").strip() or None)
        if not (_is_plain(self.url) and self.address.startswith(("http://", "https://")) and self._has_host):
            told = f"server {cut(self.address, 100)}" if _is_plain(self.url) else "the server"
            accepted = "http://localhost:8000/v1, without spaces and with nothing behind a question mark"
            raise InputError(f"{told}: no address; accepted is like {accepted}")
        if self.key and not _is_plain(self.key):
            raise InputError(
                "the API key of the server holds a line break, a space or a letter that no key has; give the key alone"
            )

    @classmethod
    def at(cls, place: str, **how: Any) -> "Server":
        """Of an address, or of `gemini`, which is asked by its own protocol; `how` as the fields."""
        return cls(GEMINI, protocol="gemini", **how) if place == "gemini" else cls(place, **how)

    @property
    def address(self) -> str:
        """The address without user, password, and what stands behind a question mark."""
        scheme, _, rest = self.url.partition("://")
        place, slash, path = rest.partition("/")
        return f"{scheme}://{place.rpartition('@')[2]}{slash}{path.partition('?')[0].partition('#')[0]}"

    @property
    def login(self) -> tuple[str, str] | None:
        """User and password."""
        if "@" not in self.url.partition("://")[2].partition("/")[0]:
            return None
        parts = urlsplit(self.url)
        return unquote(parts.username or ""), unquote(parts.password or "")

    def masked(self, text: str) -> str:
        """A text of somebody else, such as the server's own, without the secrets that it may repeat."""
        for secret in filter(None, self._secrets()):
            text = text.replace(secret, _MASK)
        return text

    def _secrets(self) -> Iterator[str]:
        yield self.key or ""
        if self.login:
            yield self.url.partition("://")[2].partition("@")[0].partition(":")[2]
            yield self.login[1]
            yield b64encode(":".join(self.login).encode()).decode()  # as it is sent

    @property
    def _has_host(self) -> bool:
        try:
            parts = urlsplit(self.url)
            return bool(parts.hostname) and (parts.port or 1) > 0 and not parts.query and not parts.fragment
        except ValueError:  # a port that is no number, half an IPv6 address
            return False


def _is_plain(text: str) -> bool:
    return all("!" <= letter <= "~" for letter in text)
