"""An S3 server as a process of its own: moto's, with atomic requests, and with faults and counts on demand.

moto honours If-None-Match and If-Match, but looks and writes in two steps: under a lock of all requests they are one.
`python s3_process.py` prints its port. `servers.S3Server` is its client; PUT /~control/faults, /~control/heal,
/~control/reset and GET /~control/counts are what it asks.
"""

from __future__ import annotations

import io
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
CONTROL = "/~control/"


@dataclass
class Fault:
    """What befalls matching requests: `requests` of them, or all that arrive within `seconds`, or all.

    kind: `answer` with an error instead of doing anything; `delay` before it is done; `lose` the answer after it was.
    """

    kind: str
    method: str = ""
    path: str = ""
    requests: int | None = None
    seconds: float | None = None
    status: str = ""
    code: str = ""
    delay_seconds: float = 0
    began: float = field(default_factory=time.monotonic)

    def takes(self, method: str, path: str) -> bool:
        """Whether it befalls this request, which then is counted."""
        if self.requests == 0 or (self.seconds is not None and time.monotonic() > self.began + self.seconds):
            return False
        if (self.method and method != self.method) or self.path not in path:
            return False
        if self.requests is not None:
            self.requests -= 1
        return True


class Application:
    """moto as a WSGI application, one request at a time."""

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._one_at_a_time = threading.Lock()
        self._state = threading.Lock()
        self._faults: list[Fault] = []
        self._counts: dict[str, dict[str, int]] = {}

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request of a client, or of the tests."""
        method, path = environ["REQUEST_METHOD"], unquote(environ["PATH_INFO"])
        # before any lock: a slow client must not stop the others; and an error before it was read resets the connection
        body = _body(environ)
        if path.startswith(CONTROL):
            return self._control(path.removeprefix(CONTROL), body, start_response)
        with self._state:
            faults = [f for f in self._faults if f.takes(method, path)]
        time.sleep(sum(f.delay_seconds for f in faults if f.kind == "delay"))
        error = next((f for f in faults if f.kind == "answer"), None)
        status, headers, answer = _error(error, method) if error else self._answer(environ)
        self._count(method, body, answer)
        if any(f.kind == "lose" for f in faults):
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        start_response(status, headers)
        return [answer]

    def _answer(self, environ: Environ) -> tuple[str, list[tuple[str, str]], bytes]:
        begun: list[Any] = []
        with self._one_at_a_time:
            answer = b"".join(self._moto(environ, lambda *given: begun.append(given)))
        return begun[-1][0], begun[-1][1], answer

    def _count(self, method: str, body: bytes, answer: bytes) -> None:
        with self._state:
            counts = self._counts.setdefault(method, {"requests": 0, "bytes_in": 0, "bytes_out": 0})
            counts["requests"] += 1
            counts["bytes_in"] += len(body)
            counts["bytes_out"] += len(answer)

    def _control(self, wish: str, body: bytes, start_response: StartResponse) -> Iterable[bytes]:
        with self._state:
            if wish == "faults":
                self._faults.append(Fault(**json.loads(body)))
            elif wish == "heal":
                self._faults.clear()
            elif wish == "reset":
                self._counts.clear()
            answer = json.dumps(self._counts).encode()
        start_response("200 OK", [("Content-Type", "application/json")])
        return [answer]


def _body(environ: Environ) -> bytes:
    """The request's body, which can then be read again."""
    stream = environ["wsgi.input"]
    body: bytes
    if environ.get("wsgi.input_terminated"):  # chunked
        body = stream.read()
    else:
        body = stream.read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    return body


def _error(fault: Fault, method: str) -> tuple[str, list[tuple[str, str]], bytes]:
    # S3 answers HEAD without a body: a client then knows the status alone
    text = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{fault.code}</Code><Message>test</Message></Error>'
    return fault.status, [("Content-Type", "application/xml")], b"" if method == "HEAD" else text.encode()


class _Quiet(MotoRequestHandler):
    """A line for each request would be 10,000 in a run of the pipeline."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing."""


def main() -> None:
    """Serve until the process is ended."""
    server = make_server("127.0.0.1", 0, Application(), threaded=True, request_handler=_Quiet)
    sys.stdout.write(f"port {server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
