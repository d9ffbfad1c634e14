"""The prompt of a request in OpenAI's format, as a key for prefix affinity.

=============================================  =========================================================
chat completions                               ``tools``, then each of ``messages``
completions                                    ``prompt``: text, token ids, or the first of several
responses                                      ``tools``, ``instructions``, then each of ``input``
=============================================  =========================================================

What does not change the prompt (temperature, stream, user) is left out, and so is the order of fields. The model comes first:
prompts for different models share nothing. LoRA adapters are models to vLLM and SGLang.

Cost: about 6 microseconds a kilobyte, most of it to read the JSON.

Source: OpenAI API reference (chat, completions, responses); chat templates put tools before messages.
"""

from __future__ import annotations

import json
from typing import Any, Final

from balancekit.inference import prompt_key, token_key

__all__ = ["chat_prefix"]

_canonical: Final = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), check_circular=False
).encode


def chat_prefix(request: Any) -> bytes | None:
    r"""Return the prompt in the body of a client's request, with its model.

    Parameters
    ----------
    request
        Of httpx2, httpx, requests or aiohttp; its body has to be in memory.

    Returns
    -------
    bytes or None
        A later turn of a conversation begins with the bytes of the turns before. ``None`` if the body is a stream, no JSON,
        or has no prompt: the request then goes to the least loaded endpoint.

    *When not to use it:* the prompt is in the body of a multipart form, or compressed.

    Example
    -------
    >>> from balancekit.adapters import chat_prefix
    >>> class Request:
    ...     content = b'{"model": "m", "temperature": 0.1, "messages": [{"role": "user", "content": "Hi"}]}'
    >>> chat_prefix(Request())
    b'm\x00\x00{"content":"Hi","role":"user"}\n'
    """
    try:
        fields = json.loads(_body(request))
        model = fields.get("model") or ""
        if isinstance(prompt := fields.get("prompt"), str | list):
            return _completion(prompt, model)
        parts = [fields["tools"]] if fields.get("tools") else []
        if fields.get("instructions"):
            parts.append(fields["instructions"])
        turns = fields["messages"] if "messages" in fields else fields["input"]
        parts += turns if isinstance(turns, list) else [turns]
        text = "\n".join([*map(_canonical, parts), ""])
        return prompt_key(text, model=model) if turns else None
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError):
        return None


def _completion(prompt: str | list[Any], model: str) -> bytes | None:
    """Return the key of a prompt without turns: token ids as they are, of a batch its first."""
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], str | list):
        prompt = prompt[0]
    if not prompt:
        return None
    return prompt_key(prompt if isinstance(prompt, str) else token_key(prompt), model=model)


def _body(request: Any) -> Any:
    """Return the body of a request; an error of any kind above if it is not in memory."""
    body = getattr(request, "body", None)  # requests, aiohttp
    if body is None:
        body = request.content  # httpx
    if not isinstance(body, str | bytes):
        body = body.decode()  # a payload of aiohttp
    return body
