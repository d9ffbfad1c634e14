"""A local stand-in for a model provider: chat completions, streamed or not, with keys, quotas and refusals."""

from __future__ import annotations

import json
import threading
from collections import defaultdict, deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


class Provider:
    """Answers ``/v1/chat/completions`` under any prefix; ``script[key]`` holds statuses for the next requests of a key."""

    def __init__(self) -> None:
        self.script: dict[str, deque[tuple[int, dict[str, str]]]] = defaultdict(deque)
        self.seen: list[tuple[str, str, dict[str, Any]]] = []
        """Key, path and body of each request."""
        self.resume = threading.Event()
        """A stream stops after its first event until this is set."""
        self.resume.set()
        self.breaks = False
        """Whether streams hang up after their first event."""
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                key = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
                provider.seen.append((key, self.path, body))
                status, headers = provider.script[key].popleft() if provider.script[key] else (200, {})
                if status != 200:
                    self.answer(status, {"error": {"message": "no", "type": "x"}}, headers)
                elif body.get("stream"):
                    self.stream()
                else:
                    message = {"role": "assistant", "content": "hello"}
                    choice = {"index": 0, "message": message, "finish_reason": "stop"}
                    usage = {"prompt_tokens": 9, "completion_tokens": 191, "total_tokens": 200}
                    answer = envelope("chat.completion", [choice])
                    self.answer(200, {**answer, "usage": usage}, headers)

            def answer(self, status: int, data: object, headers: dict[str, str]) -> None:
                text = json.dumps(data).encode()
                self.send_response(status)
                for name, value in {
                    "Content-Type": "application/json",
                    "Content-Length": str(len(text)),
                    **headers,
                }.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

            def stream(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for word in ("hel", "lo"):
                    delta = {"index": 0, "delta": {"content": word}, "finish_reason": None}
                    self.chunk(f"data: {json.dumps(envelope('chat.completion.chunk', [delta]))}\n\n".encode())
                    provider.resume.wait(5)
                    if provider.breaks:
                        self.close_connection = True
                        return
                self.chunk(b"data: [DONE]\n\n")
                self.chunk(b"")

            def chunk(self, data: bytes) -> None:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                self.wfile.flush()

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.resume.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def envelope(kind: str, choices: list[Any]) -> dict[str, Any]:
    """Return the fields around every answer."""
    return {"id": "c1", "object": kind, "created": 1, "model": "m", "choices": choices}
