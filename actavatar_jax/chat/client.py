"""One client for every server that speaks the OpenAI chat protocol: vLLM, vLLM-Omni, sglang-jax, hosted ones."""

import asyncio
import json
import logging
import random
import threading
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from actavatar_jax.chat.completions import Answer, read_completion
from actavatar_jax.chat.servers import Server
from actavatar_jax.errors import InputError, Skip
from actavatar_jax.storage import cut

RETRIED = (408, 409, 425, 429, 500, 502, 503, 504, 529)  # the same request may be answered later
WRONG_SETTING = (401, 403, 404, 405)  # no request will ever be answered
ANSWER_TOKENS = 2048
LONGEST_WAIT = 60.0  # seconds between two attempts
LARGEST_BODY = 2**17  # bytes; an answer has a few kB
GIVE_UP = 10  # requests in a row without an answer, each after all its attempts: the server is gone
MOST_REFUSALS = 20  # requests that are refused before one is answered: so would all others be
NOT_ASKED = "not asked"

log = logging.getLogger(__name__)
Message = dict[str, Any]


class SilentError(InputError):
    """A server has fallen silent, so that no request will be answered."""


class ChatClient:
    """Asks a server; may be used by many threads at once."""

    def __init__(self, server: Server):
        try:
            import httpx2
        except ImportError as error:
            raise InputError('asking a model needs httpx2: pip install "actavatar-jax[data]"') from error
        self.server = server
        self._httpx = httpx2
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chat", daemon=True)
        self._thread.start()
        headers = {"Authorization": f"Bearer {server.key}"} if server.key else {}
        limits = httpx2.Limits(max_connections=None)  # threads are the limit
        self._http = httpx2.AsyncClient(timeout=None, headers=headers, limits=limits, auth=server.login)
        self._pace = _Pace(server.per_minute)
        self._silences = self._refusals = 0
        self._answered, self._lock = False, threading.Lock()

    def close(self) -> None:
        if not self._loop.is_closed():
            self._wait_for(self._http.aclose())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def __enter__(self) -> "ChatClient":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def ask(self, messages: Sequence[Message], schema: Mapping[str, Any], seed: int | None = None) -> Answer:
        """The answer to a conversation, in JSON of this schema where the server constrains its decoding.

        seed: of this answer; default: that of the server's settings.

        Raises Skip where this request gets no answer: 'request refused', after all attempts 'no answer', and 'not
        asked' of a server that has refused every request so far; InputError where none will: wrong address, model or
        key, or, as SilentError, a server that has fallen silent.
        """
        if self._refusals >= MOST_REFUSALS and not self._answered:
            raise Skip(NOT_ASKED, f"{self.server.address} refused the first {self._refusals} requests, all it was sent")
        body = {
            "model": self.server.model,
            "messages": list(messages),
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": dict(schema), "strict": True},
            },
            "modalities": ["text"],  # models that also speak would
            "temperature": self.server.temperature,
            "seed": self.server.seed if seed is None else seed,
            "max_completion_tokens": ANSWER_TOKENS,
        }
        trouble = None
        for attempt in range(self.server.attempts):
            if attempt:
                time.sleep(self._wait(attempt, trouble))
            try:
                answer = self._answer(self._post(json.dumps(body).encode()))
            except _Trouble as error:
                trouble = error
                log.info("%s: attempt %d of %d: %s", self.server.address, attempt + 1, self.server.attempts, error)
            else:
                self._silences, self._answered = 0, True
                return answer
        with self._lock:
            self._silences += 1
        if self._silences >= GIVE_UP:
            raise SilentError(
                f"{self.server.address} left {self._silences} requests in a row without an answer, the last with: "
                f"{trouble}; run again when it is back, what it has answered is kept"
            )
        raise Skip("no answer", f"{self.server.attempts} attempts, the last with: {trouble}")

    def _answer(self, body: bytes) -> Answer:
        try:
            return read_completion(body)
        except InputError as error:
            raise _Trouble(self.server.masked(str(error))) from None

    def _post(self, body: bytes) -> bytes:
        """The body of a good answer. Raises _Trouble for what may pass, InputError and Skip for what will not."""
        self._pace.wait()
        try:
            status, headers, received = self._wait_for(self._exchange(body))
        except TimeoutError:
            raise _Trouble(f"the answer was not complete after {self.server.timeout:g} s") from None
        except (self._httpx.TransportError, self._httpx.DecodingError) as error:
            raise _Trouble(self.server.masked(cut(str(error), 200)) or type(error).__name__) from None
        except self._httpx.InvalidURL as error:
            raise InputError(f"server {self.server.address}: no address ({error})") from None
        if status == 200:
            return received
        said = cut(self.server.masked(received.decode("utf-8", "replace")), 300)
        if status in RETRIED:
            raise _Trouble(f"status {status}: {said}", _seconds(headers.get("Retry-After")))
        if status in WRONG_SETTING:
            raise InputError(f"{self.server.address} answers {status} to model {self.server.model}: {said}")
        with self._lock:
            self._refusals += 1
        raise Skip("request refused", f"status {status}: {said}")

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
                    raise _Trouble(f"the answer is longer than {LARGEST_BODY} bytes")
        return response.status_code, response.headers, bytes(received)

    def _wait_for(self, work: Coroutine) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _wait(self, attempt: int, trouble: "_Trouble") -> float:
        """Seconds before an attempt: what the server asks for, or else doubled each time; spread by chance, so that
        threads that were turned away together do not come back together."""
        wait = self.server.backoff * 2 ** (attempt - 1) if trouble.wait is None else trouble.wait
        return min(wait, LONGEST_WAIT) * random.uniform(1, 1.25)


class _Trouble(Exception):  # noqa: N818  (it is tried again)
    """No answer this time. `wait`: seconds after which the server wants to be asked again."""

    def __init__(self, what: str, wait: float | None = None):
        super().__init__(what)
        self.wait = wait


class _Pace:
    """Lets one through every 60 / per_minute seconds."""

    def __init__(self, per_minute: float | int | None):
        self.step = 60 / per_minute if per_minute else 0.0
        self.next, self.lock = 0.0, threading.Lock()

    def wait(self) -> None:
        with self.lock:
            now = time.monotonic()
            turn = max(self.next, now)
            self.next = turn + self.step
        time.sleep(turn - now)


def _seconds(text: str | None) -> float | None:
    """The number in a Retry-After header; its other form, a date, counts as none."""
    return float(text) if text and text.strip().isdecimal() else None
