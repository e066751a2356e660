"""A chat server on the loopback device that answers as a test tells it to."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GOOD = {
    "base": "A woman in a grey suit sits at a desk in a bright office and speaks calmly and warmly to the camera.",
    "phases": [
        {
            "start": 0.0,
            "end": 1.0,
            "action": "She raises the right hand to her chest.",
            "body_part": "hands",
            "speech": "well",
        },
        {
            "start": 1.0,
            "end": 2.0,
            "action": "She nods slowly and lowers it again.",
            "body_part": "head",
            "speech": "",
        },
    ],
    "confidence": 0.8,
}


@dataclass(frozen=True)
class Reply:
    """What goes over the wire. drip: seconds between single bytes. hang_up: the connection ends without a word."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drip: float = 0.0
    hang_up: bool = False


def says(text: str | None, finish: str = "stop", **wire) -> Reply:
    """A chat completion with this text."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    body = {"id": "1", "model": "omni-30b", "system_fingerprint": "fp1", "choices": [choice]}
    return Reply(body=json.dumps(body).encode(), **wire)


def says_json(**changes) -> Reply:
    return says(json.dumps(GOOD | changes))


class ChatServer:
    """Serves while entered, at addresses that end with `path`. `script(request, number)` makes the reply to the
    number-th request (from 0)."""

    def __init__(self, script: Callable[[dict, int], Reply], path: str = "/v1/chat/completions"):
        self.script, self.requests, self.times, self.headers = script, [], [], []
        lock, chat = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    number = len(chat.requests)
                    chat.requests.append(body)
                    chat.times.append(time.monotonic())
                    chat.headers.append(dict(self.headers))
                reply = chat.script(body, number)
                time.sleep(reply.delay)
                if reply.hang_up or not self.path.endswith(path):
                    self.close_connection = True
                    return
                self.send_response(reply.status)
                for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                for piece in [reply.body] if not reply.drip else [bytes([byte]) for byte in reply.body]:
                    try:
                        self.wfile.write(piece)
                        self.wfile.flush()
                    except OSError:  # the client has given up
                        return
                    time.sleep(reply.drip)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> "ChatServer":
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._server.shutdown()
        self._server.server_close()
