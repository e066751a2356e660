"""One client for every server that speaks the OpenAI chat protocol: vLLM, vLLM-Omni, sglang-jax, hosted ones."""

import json
import logging
import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actavatar_jax.errors import InputError
from data_pipelines.table import Skip

RETRIED = (408, 409, 425, 429, 500, 502, 503, 504, 529)  # the same request may be answered later
WRONG_SETTING = (401, 403, 404, 405)  # no request will ever be answered
ANSWER_TOKENS = 2048
LONGEST_WAIT = 60.0  # seconds between two attempts
LARGEST_BODY = 2**17  # bytes; an answer has a few kB
GIVE_UP = 10  # requests in a row without an answer, each after all its attempts: the server is gone

log = logging.getLogger(__name__)
Message = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What the model said, and why it stopped: 'stop', 'length' (cut off), 'content_filter' (refused)."""

    text: str
    finish: str
    model: str  # as the server calls it
    fingerprint: str | None  # of the server's version, where it tells one


@dataclass(frozen=True)
class Server:
    """Where the model is and how it is asked."""

    url: str  # with its version: http://localhost:8000/v1
    model: str
    key: str | None = field(default=None, repr=False)
    audio_part: str = "audio_url"  # vLLM and sglang-jax know it; hosted servers know "input_audio" only
    seed: int = 0
    temperature: float | int = 0
    timeout: float | int = 180  # seconds for one attempt, from the request to the last byte of the answer
    attempts: int = 5
    backoff: float | int = 1  # seconds before the second attempt; doubled before each further one
    per_minute: float | int | None = None  # requests, attempts included


class ChatClient:
    """Asks a server; may be used by many threads at once."""

    def __init__(self, server: Server):
        try:
            import httpx2
        except ImportError as error:
            raise InputError('asking a model needs httpx2: pip install "actavatar-jax[data]"') from error
        if not server.url.startswith(("http://", "https://")):
            raise InputError(f"server {server.url}: no address; accepted is like http://localhost:8000/v1")
        self.server = server
        self._httpx = httpx2
        headers = {"Authorization": f"Bearer {server.key}"} if server.key else {}
        limits = httpx2.Limits(max_connections=None)  # threads are the limit
        self._http = httpx2.Client(timeout=server.timeout, headers=headers, limits=limits)
        self._pace = _Pace(server.per_minute)
        self._silences, self._lock = 0, threading.Lock()

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> "ChatClient":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def ask(self, messages: Sequence[Message], schema: Mapping[str, Any]) -> Answer:
        """The answer to a conversation, in JSON of this schema where the server constrains its decoding.

        Raises Skip where this request gets no answer: 'request refused' or, after all attempts, 'no answer'; InputError
        where none will: wrong address, model or key, or a server that has fallen silent.
        """
        body = {
            "model": self.server.model,
            "messages": list(messages),
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "structured_prompt", "schema": dict(schema), "strict": True},
            },
            "modalities": ["text"],  # models that also speak would
            "temperature": self.server.temperature,
            "seed": self.server.seed,
            "max_completion_tokens": ANSWER_TOKENS,
        }
        trouble = None
        for attempt in range(self.server.attempts):
            if attempt:
                time.sleep(self._wait(attempt, trouble))
            try:
                answer = _parse(self._post(json.dumps(body).encode()))
            except _Trouble as error:
                trouble = error
                log.info("%s: attempt %d of %d: %s", self.server.url, attempt + 1, self.server.attempts, error)
            else:
                self._silences = 0
                return answer
        with self._lock:
            self._silences += 1
        if self._silences >= GIVE_UP:
            raise InputError(
                f"{self.server.url} left {self._silences} requests in a row without an answer, the last with: "
                f"{trouble}; run again when it is back, what it has answered is kept"
            )
        raise Skip("no answer", f"{self.server.attempts} attempts, the last with: {trouble}")

    def _post(self, body: bytes) -> bytes:
        """The body of a good answer. Raises _Trouble for what may pass, InputError and Skip for what will not."""
        self._pace.wait()
        deadline = time.monotonic() + self.server.timeout
        url = f"{self.server.url.rstrip('/')}/chat/completions"
        received = bytearray()
        try:
            headers = {"Content-Type": "application/json"}
            with self._http.stream("POST", url, content=body, headers=headers) as response:
                for piece in response.iter_bytes():
                    received += piece
                    if time.monotonic() > deadline:
                        raise _Trouble(f"the answer was not complete after {self.server.timeout:g} s")
                    if len(received) > LARGEST_BODY:
                        raise _Trouble(f"the answer is longer than {LARGEST_BODY} bytes")
        except self._httpx.TimeoutException as error:
            raise _Trouble(f"nothing came for {self.server.timeout:g} s ({type(error).__name__})") from error
        except (self._httpx.TransportError, self._httpx.DecodingError) as error:
            raise _Trouble(str(error) or type(error).__name__) from error
        except self._httpx.InvalidURL as error:
            raise InputError(f"server {self.server.url}: no address ({error})") from error
        if response.status_code == 200:
            return bytes(received)
        said = " ".join(received.decode("utf-8", "replace").split())[:300]
        if response.status_code in RETRIED:
            raise _Trouble(f"status {response.status_code}: {said}", _seconds(response.headers.get("Retry-After")))
        if response.status_code in WRONG_SETTING:
            raise InputError(f"{url} answers {response.status_code} to model {self.server.model}: {said}")
        raise Skip("request refused", f"status {response.status_code}: {said}")

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


def _parse(body: bytes) -> Answer:
    try:
        data = json.loads(body)
        choice = data["choices"][0]
        message = choice["message"]
        text, refusal = message.get("content"), message.get("refusal")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _Trouble(f"what came is no chat completion: {body[:200]!r}") from error
    finish = "content_filter" if refusal else choice.get("finish_reason")
    text = text or refusal or ""
    if not isinstance(text, str):
        raise _Trouble(f"the message is {type(text).__name__}, not text")
    return Answer(text, str(finish), str(data.get("model")), data.get("system_fingerprint"))


def _seconds(text: str | None) -> float | None:
    """The number in a Retry-After header; its other form, a date, counts as none."""
    return float(text) if text and text.strip().isdecimal() else None
