"""What asking has in common whatever a server speaks: attempts, waits between them, a pace, and when to give up."""

import abc
import logging
import random
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from actavatar_jax.chat.completions import Answer
from actavatar_jax.chat.servers import Server
from actavatar_jax.errors import InputError, Skip
from actavatar_jax.storage import cut

RETRIED = (408, 409, 425, 429, 500, 502, 503, 504, 529)  # the same request may be answered later
WRONG_SETTING = (401, 403, 404, 405)  # no request will ever be answered
ANSWER_TOKENS = 2048
LONGEST_WAIT = 60.0  # seconds between two attempts
GIVE_UP = 10  # requests in a row without an answer, each after all its attempts: the server is gone
NOT_ASKED = "not asked"
MOST_REFUSALS = 20  # requests that are refused before one is answered: so would all others be

log = logging.getLogger(__name__)
Message = dict[str, Any]


class SilentError(InputError):
    """A server has fallen silent, so that no request will be answered."""


class Client(abc.ABC):
    """Asks a server; may be used by many threads at once."""

    def __init__(self, server: Server):
        self.server = server
        self._pace = _Pace(server.per_minute)
        self._silences = self._refusals = 0
        self._answered, self._lock = False, threading.Lock()

    @abc.abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> "Client":
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
        request = self._request(messages, schema, self.server.seed if seed is None else seed)
        trouble = None
        for attempt in range(self.server.attempts):
            if attempt:
                time.sleep(self._wait(attempt, trouble))
            self._pace.wait()
            try:
                answer = self._send(request)
            except Trouble as error:
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

    @abc.abstractmethod
    def _request(self, messages: Sequence[Message], schema: Mapping[str, Any], seed: int) -> Any:
        """What is sent, as often as it takes."""

    @abc.abstractmethod
    def _send(self, request: Any) -> Answer:
        """One attempt. Raises Trouble for what may pass, InputError and Skip for what will not."""

    def _turned_away(self, status: int, said: str, wait: str | None) -> Exception:
        """What a status other than 200 becomes. said: by the server; wait: its header Retry-After."""
        said = cut(self.server.masked(said), 300)
        if status in RETRIED:
            return Trouble(f"status {status}: {said}", _seconds(wait))
        if status in WRONG_SETTING:
            return InputError(f"{self.server.address} answers {status} to model {self.server.model}: {said}")
        return self._refused(f"status {status}: {said}")

    def _refused(self, what: str) -> Skip:
        with self._lock:
            self._refusals += 1
        return Skip("request refused", what)

    def _wait(self, attempt: int, trouble: "Trouble") -> float:
        """Seconds before an attempt: what the server asks for, or else doubled each time; spread by chance, so that
        threads that were turned away together do not come back together."""
        wait = self.server.backoff * 2 ** (attempt - 1) if trouble.wait is None else trouble.wait
        return min(wait, LONGEST_WAIT) * random.uniform(1, 1.25)


class Trouble(Exception):  # noqa: N818  (it is tried again)
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
