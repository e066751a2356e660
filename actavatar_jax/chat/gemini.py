"""Gemini by its own protocol, through google-genai: the same conversations in, the same answers out."""

import base64
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from actavatar_jax.chat.attempts import ANSWER_TOKENS, Client, Message, Trouble
from actavatar_jax.chat.completions import Answer, Usage
from actavatar_jax.chat.servers import Server
from actavatar_jax.errors import InputError
from actavatar_jax.storage import cut

if TYPE_CHECKING:
    from google.genai import types

THOUGHT_TOKENS = 8192  # before an answer, which count to it
FINISHES = {"STOP": "stop", "MAX_TOKENS": "length"}  # and of these, an answer is refused:
REFUSALS = ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE")
ROLES = {"user": "user", "assistant": "model"}
PICTURE = re.compile("data:(image/[a-z]+);base64,(.*)", re.DOTALL)


class GeminiClient(Client):
    """See `Client`. Messages hold text and pictures; what the model thinks counts as written tokens, as it is paid. The
    server's timeout is of the connection and of every read, not of the whole attempt."""

    def __init__(self, server: Server):
        try:
            import httpx2
            from google import genai
            from google.genai import errors, types
        except ImportError as error:
            raise InputError('asking Gemini needs google-genai: pip install "actavatar-jax[gemini]"') from error
        if not server.key:
            raise InputError("asking Gemini needs a key; give it in the environment variable ACTAVATAR_API_KEY")
        super().__init__(server)
        self._httpx, self._errors, self._types = httpx2, errors, types
        self._http = httpx2.Client(timeout=server.timeout, limits=httpx2.Limits(max_connections=None))
        options = types.HttpOptions(base_url=server.address, timeout=round(server.timeout * 1000))
        options.httpx_client = self._http
        options.retry_options = types.HttpRetryOptions(attempts=1)  # attempts are counted here
        self._gemini = genai.Client(api_key=server.key, vertexai=False, http_options=options)

    def close(self) -> None:
        self._gemini.close()
        self._http.close()

    def _request(self, messages: Sequence[Message], schema: Mapping[str, Any], seed: int) -> dict[str, Any]:
        types, told = self._types, [message for message in messages if message["role"] != "system"]
        config = types.GenerateContentConfig(
            system_instruction=[part for m in messages if m["role"] == "system" for part in self._parts(m)] or None,
            temperature=self.server.temperature,
            seed=seed,
            max_output_tokens=ANSWER_TOKENS + THOUGHT_TOKENS,
            response_mime_type="application/json",
            response_json_schema=dict(schema),
        )
        contents = [types.Content(role=ROLES[message["role"]], parts=self._parts(message)) for message in told]
        return {"model": self.server.model, "contents": contents, "config": config}

    def _parts(self, message: Message) -> list["types.Part"]:
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        return [self._part(part) for part in parts]

    def _part(self, part: Mapping[str, Any]) -> "types.Part":
        if part["type"] == "text":
            return self._types.Part.from_text(text=part["text"])
        found = PICTURE.fullmatch(part["image_url"]["url"]) if part["type"] == "image_url" else None
        if found is None:
            raise InputError(f"Gemini is shown a part of the type {part['type']}; accepted are text and pictures.")
        return self._types.Part.from_bytes(data=base64.b64decode(found[2]), mime_type=found[1])

    def _send(self, request: dict[str, Any]) -> Answer:
        try:
            response = self._gemini.models.generate_content(**request)
        except self._errors.APIError as error:
            headers = getattr(error.response, "headers", None) or {}
            if "API_KEY_INVALID" in str(error.details):  # which comes as 400, like a wrong request
                raise InputError(f"{self.server.address} does not accept the key") from None
            raise self._turned_away(error.code or 0, str(error.message), headers.get("Retry-After")) from None
        except (self._httpx.HTTPError, ValueError) as error:  # no connection; or what came is of another form
            raise Trouble(self.server.masked(cut(str(error), 200)) or type(error).__name__) from None
        return self._read(response)

    def _read(self, response: "types.GenerateContentResponse") -> Answer:
        usage, feedback = response.usage_metadata, response.prompt_feedback
        if not response.candidates:
            if feedback is not None and feedback.block_reason:
                raise self._refused(f"blocked: {feedback.block_reason.value}")
            raise Trouble("what came is an answer without a candidate")
        candidate = response.candidates[0]
        finish = candidate.finish_reason.value if candidate.finish_reason else "None"
        parts = (candidate.content.parts if candidate.content else None) or ()
        written = None if usage is None else (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)
        return Answer(
            "".join(part.text for part in parts if part.text and not part.thought),
            "content_filter" if finish in REFUSALS else FINISHES.get(finish, finish),
            response.model_version or self.server.model,
            None,
            Usage() if usage is None else Usage(usage.prompt_token_count or 0, written),
        )
