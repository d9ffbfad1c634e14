"""Chat completions of a toy server, in the form of OpenAI's API: one answer, whole or streamed.

Source: OpenAI API reference, "Create chat completion", objects ``chat.completion`` and ``chat.completion.chunk``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

__all__ = ["chat_completion", "chat_pieces"]

WORDS: Final = ("hel", "lo")
USAGE: Final = {"prompt_tokens": 9, "completion_tokens": 191, "total_tokens": 200}


def chat_completion() -> bytes:
    """Return a whole completion with the text ``hello``."""
    message = {"role": "assistant", "content": "".join(WORDS)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps(_envelope("chat.completion", choice) | {"usage": USAGE}).encode()


def chat_pieces(request: bytes) -> Sequence[bytes] | None:
    """Return the events of a streamed completion, or ``None`` if the request is not for a stream."""
    try:
        fields = json.loads(request)
    except (ValueError, RecursionError):
        return None
    if not (isinstance(fields, dict) and fields.get("stream") is True):
        return None
    deltas = [{"index": 0, "delta": {"content": word}, "finish_reason": None} for word in WORDS]
    chunks = [json.dumps(_envelope("chat.completion.chunk", delta)) for delta in deltas]
    return [f"data: {text}\n\n".encode() for text in (*chunks, "[DONE]")]


def _envelope(kind: str, choice: dict[str, Any]) -> dict[str, Any]:
    return {"id": "toy", "object": kind, "created": 1, "model": "toy", "choices": [choice]}
