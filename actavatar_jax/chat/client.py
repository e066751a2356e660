"""One client for every server that speaks the OpenAI chat protocol: vLLM, vLLM-Omni, sglang-jax, hosted ones."""

import asyncio
import json
import threading
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from actavatar_jax.chat.attempts import ANSWER_TOKENS, Client, Message, Trouble
from actavatar_jax.chat.completions import Answer, read_completion
from actavatar_jax.chat.servers import Server
from actavatar_jax.errors import InputError
from actavatar_jax.storage import cut

LARGEST_BODY = 2**17  # bytes; an answer has a few kB


class ChatClient(Client):
    """See `Client`."""

    def __init__(self, server: Server):
        try:
            import httpx2
        except ImportError as error:
            raise InputError('asking a model needs httpx2: pip install "actavatar-jax[data]"') from error
        super().__init__(server)
        self._httpx = httpx2
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chat", daemon=True)
        self._thread.start()
        headers = {"Authorization": f"Bearer {server.key}"} if server.key else {}
        limits = httpx2.Limits(max_connections=None)  # threads are the limit
        self._http = httpx2.AsyncClient(timeout=None, headers=headers, limits=limits, auth=server.login)

    def close(self) -> None:
        if not self._loop.is_closed():
            self._wait_for(self._http.aclose())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _request(self, messages: Sequence[Message], schema: Mapping[str, Any], seed: int) -> bytes:
        body = {
            "model": self.server.model,
            "messages": list(messages),
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": dict(schema), "strict": True},
            },
            "modalities": ["text"],  # models that also speak would
            "temperature": self.server.temperature,
            "seed": seed,
            "max_completion_tokens": ANSWER_TOKENS,
        }
        return json.dumps(body).encode()

    def _send(self, request: bytes) -> Answer:
        body = self._post(request)
        try:
            return read_completion(body)
        except InputError as error:
            raise Trouble(self.server.masked(str(error))) from None

    def _post(self, body: bytes) -> bytes:
        """The body of a good answer."""
        try:
            status, headers, received = self._wait_for(self._exchange(body))
        except TimeoutError:
            raise Trouble(f"the answer was not complete after {self.server.timeout:g} s") from None
        except (self._httpx.TransportError, self._httpx.DecodingError) as error:
            raise Trouble(self.server.masked(cut(str(error), 200)) or type(error).__name__) from None
        except self._httpx.InvalidURL as error:
            raise InputError(f"server {self.server.address}: no address ({error})") from None
        if status != 200:
            raise self._turned_away(status, received.decode("utf-8", "replace"), headers.get("Retry-After"))
        return received

    async def _exchange(self, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of a response, all of which have come within the time limit."""
        url, received = f"{self.server.address}/chat/completions", bytearray()
        headers = {"Content-Type": "application/json"}
        async with (
            asyncio.timeout(self.server.timeout),
            self._http.stream("POST", url, content=body, headers=headers) as response,
        ):
            async for piece in response.aiter_bytes():
                received += piece
                if len(received) > LARGEST_BODY:
                    raise Trouble(f"the answer is longer than {LARGEST_BODY} bytes")
        return response.status_code, response.headers, bytes(received)

    def _wait_for(self, work: Coroutine) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
