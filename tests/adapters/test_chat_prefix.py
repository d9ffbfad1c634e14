"""Keys from the prompts of OpenAI-style requests, by every client over real sockets."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from balancekit import LoadBalancer
from balancekit.adapters import chat_prefix
from balancekit.inference import PrefixAffinity, prompt_key, token_key
from balancekit.testing.server import ToyServers

from ._clients import KINDS, play

SYSTEM = {"role": "system", "content": "You answer in one word. " * 40}


def key_of(body: object) -> bytes | None:
    """Return the key of a request with this JSON body."""
    return chat_prefix(httpx2.Request("POST", "http://llm/v1/chat/completions", json=body))


def user(text: str) -> dict[str, Any]:
    """Return a message of the user."""
    return {"role": "user", "content": text}


@pytest.mark.parametrize("field", ["messages", "input"])
def test_a_later_turn_begins_with_the_earlier_ones(field: str) -> None:
    """The key of each turn begins with the whole key of the turn before; other texts differ."""
    turns: list[dict[str, Any]] = [SYSTEM, user("a")]
    before = key_of({"model": "m", field: turns})
    assert before is not None
    for text in "bc":
        turns += [{"role": "assistant", "content": "x"}, user(text)]
        key = key_of({"model": "m", field: turns})
        assert key is not None
        assert key.startswith(before)
        assert key != before
        before = key
    assert not before.startswith(key_of({"model": "m", field: [SYSTEM, user("b")]}) or b"")


def test_only_what_the_model_reads_counts() -> None:
    """Settings and the order of fields change nothing; model, tools and instructions change the beginning."""
    plain = key_of({"model": "m", "messages": [user("hi")]})
    assert plain == key_of({"messages": [{"content": "hi", "role": "user"}], "model": "m", "stream": True})
    kinds = {
        plain,
        key_of({"model": "n", "messages": [user("hi")]}),
        key_of({"messages": [user("hi")]}),
        key_of({"model": "m", "tools": [{"type": "function"}], "messages": [user("hi")]}),
        key_of({"model": "m", "instructions": "Be short.", "input": "hi"}),
        key_of({"model": "m", "input": "hi"}),
    }
    assert len(kinds) == 6


@pytest.mark.parametrize(
    ("prompt", "same"),
    [
        ("abc", "abc"),
        (["abc", "d"], "abc"),
        ([1, 2, 3], token_key([1, 2, 3])),
        ([[1, 2], [3]], token_key([1, 2])),
    ],
)
def test_prompts_without_turns(prompt: object, same: str | bytes) -> None:
    """A prompt is text or token ids, and of a batch the first decides."""
    assert key_of({"model": "m", "prompt": prompt}) == prompt_key(same, model="m")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no json",
        b"[]",
        b"7",
        b"{}",
        b'{"messages": []}',
        b'{"messages": null}',
        b'{"prompt": []}',
        b'{"prompt": [-1]}',
        b'{"prompt": [1.5]}',
        b'{"model": 7, "prompt": "a"}',
        b"[" * 100_000,
        b"\xff\xfe",
        iter([b'{"prompt": "a"}']),
    ],
    ids=[f"body{number}" for number in range(14)],
)
def test_a_body_without_a_prompt_has_no_key(content: Any) -> None:
    """Streams, other bodies and broken ones have no key and raise nothing."""
    assert chat_prefix(httpx2.Request("POST", "http://llm/", content=content)) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_conversation_stays_where_its_beginning_is(kind: str) -> None:
    """Three turns of each of three conversations with prompts of their own go to one endpoint each, by every client."""
    with ToyServers(["a", "b", "c"], behavior="/completions") as servers:
        lb = LoadBalancer([server.address for server in servers], selector=PrefixAffinity())

        async def scenario(client: Any) -> None:
            for number in range(3):
                system = {"role": "system", "content": f"{number} {SYSTEM['content']}"}
                turns, homes = [system], set()
                for text in ("one", "two", "three"):
                    turns.append(user(text))
                    answer = await client.request(
                        "POST",
                        "http://llm/v1/chat/completions",
                        body=json.dumps({"model": "m", "messages": turns}).encode(),
                        headers={"Content-Type": "application/json"},
                    )
                    assert answer.status == 200
                    homes.add(answer.info.endpoint.id)
                    turns.append({"role": "assistant", "content": "hello"})
                assert len(homes) == 1

        play(kind, lb, scenario, key=chat_prefix)
