"""The gateway of ``docs/how-to/llm-gateway.md`` over real sockets: model servers that are killed, that refuse and that stall."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import httpx2
import pytest
from tests.recipes._page import names_of

from balancekit import Endpoint
from balancekit.adapters import HttpTarget

LOCAL, PROVIDERS, CLIENTS, EACH = 8, 3, 12, 20
WORDS = 8
TENANTS = ("acme", "zeta", "tiny")
TINY = 15
"""What one tenant may ask in a minute."""
SERVER = """
import http.server, itertools, json, sys, time
WORDS, refused, stalled, secret = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
numbers, streams = itertools.count(1), itertools.count(1)

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        ask = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if secret and self.headers["Authorization"] != f"Bearer {secret}":
            return self.answer(401, {})
        if refused and next(numbers) % refused == 0:
            return self.answer(429, {}, retry_after="1")
        last = ask["messages"][-1]
        said = last["content"].split() if last["role"] == "assistant" else []
        words = [f"{ask['messages'][0]['content']}-{number} " for number in range(len(said), WORDS)]
        if not ask.get("stream"):
            time.sleep(0.01)
            message = {"role": "assistant", "content": "".join(words)}
            usage = {"completion_tokens": len(words)}
            return self.answer(200, {"choices": [{"message": message}], "usage": usage})
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        stall = stalled and next(streams) % stalled == 0
        for number, word in enumerate(words):
            if stall and number == 2:
                time.sleep(3.0)
                self.close_connection = True
                return
            self.chunk(json.dumps({"choices": [{"delta": {"content": word}}]}))
            time.sleep(0.01)
        self.chunk("[DONE]")
        self.wfile.write(b"0\\r\\n\\r\\n")

    def chunk(self, text):
        data = f"data: {text}\\n\\n".encode()
        self.wfile.write(b"%x\\r\\n%s\\r\\n" % (len(data), data))

    def answer(self, status, fields, retry_after=None):
        body = json.dumps(fields).encode()
        self.send_response(status)
        if retry_after:
            self.send_header("Retry-After", retry_after)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args): pass

class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    def handle_error(self, *args): pass  # the gateway hung up

server = Server(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.fixture
def backends():
    """Start eight model servers and three providers as processes of their own; kill what is left.

    One server refuses every third request, one stalls in every second stream; providers want a key and refuse every fifth.
    """
    kinds = [(0, 0, "")] * (LOCAL - 2) + [(3, 0, ""), (0, 2, "")]
    kinds += [(5, 0, f"sk-{number}") for number in range(PROVIDERS)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SERVER, str(WORDS), str(refused), str(stalled), secret],
            stdout=subprocess.PIPE,
            text=True,
        )
        for refused, stalled, secret in kinds
    ]
    addresses = [f"127.0.0.1:{process.stdout.readline().strip()}" for process in processes]
    endpoints = [
        Endpoint(f"gpu-{number}", HttpTarget(url=f"http://{addresses[number]}")) for number in range(LOCAL)
    ]
    for number in range(PROVIDERS):
        headers = {"Authorization": f"Bearer sk-{number}"}
        target = HttpTarget(url=f"http://{addresses[LOCAL + number]}", headers=headers)
        endpoints.append(Endpoint(f"provider-{number}", target, priority=1))
    yield processes, endpoints
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def ask(session, tenant, name, *, stream):
    """Ask for a completion as a tenant; return status and text."""
    body = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": name}]}
    if not stream:
        answer = session.post("/v1/chat/completions", json=body, headers={"X-Tenant": tenant})
        text = answer.json()["choices"][0]["message"]["content"] if answer.status_code == 200 else ""
        return answer, text
    with session.stream("POST", "/v1/chat/completions", json=body, headers={"X-Tenant": tenant}) as answer:
        lines = [line[6:] for line in answer.iter_lines() if line.startswith("data: ")]
    assert answer.status_code != 200 or lines[-1] == "[DONE]"
    return answer, "".join(json.loads(line)["choices"][0]["delta"]["content"] for line in lines[:-1])


@pytest.mark.parametrize("killed", [2, LOCAL], ids=["two servers", "all servers"])
def test_no_request_is_lost(backends, serve, killed):
    """Of 240 requests, half of them streams, all have their whole answer, and the counts of tenants are exact.

    Meanwhile servers are killed with open streams, one refuses with ``Retry-After``, one stalls in its streams, and providers
    refuse, too. A tenant gets what its quota allows and 429 for the rest.
    """
    processes, endpoints = backends
    made = SimpleNamespace(**names_of("llm-gateway"))
    gateway = made.Gateway(endpoints, {"acme": 6_000, "zeta": 6_000, "tiny": TINY}, silence=0.5)
    address = serve(made.application(gateway))
    served, refused, wrong, answers = Counter(), Counter(), [], itertools.count(1)

    def client(number):
        with httpx2.Client(base_url=f"http://{address}", trust_env=False, timeout=60.0) as session:
            for turn in range(EACH):
                tenant, name = TENANTS[(number + turn) % 3], f"c{number}t{turn}"
                answer, text = ask(session, tenant, name, stream=turn % 2 == 0)
                if answer.status_code == 200:
                    served[tenant] += 1
                    if text != "".join(f"{name}-{word} " for word in range(WORDS)):
                        wrong.append((name, text))
                elif answer.status_code == 429 and tenant == "tiny":
                    refused[tenant] += 1
                    assert int(answer.headers["Retry-After"]) >= 1
                else:
                    wrong.append((name, answer.status_code, answer.text))
                if next(answers) == 60:
                    for process in processes[:killed]:
                        os.kill(process.pid, signal.SIGKILL)

    with ThreadPoolExecutor(CLIENTS) as threads:
        list(threads.map(client, range(CLIENTS)))
    assert wrong == []
    assert sum(served.values()) + refused["tiny"] == CLIENTS * EACH
    assert served["acme"] == served["zeta"] == CLIENTS * EACH // 3
    with httpx2.Client(trust_env=False) as session:
        usage = session.get(f"http://{address}/usage").json()
    assert usage == {tenant: [served[tenant], served[tenant] * WORDS] for tenant in TENANTS}
    assert TINY <= served["tiny"] <= TINY + 15  # a quarter of a request a second is added while the test runs
    assert gateway.pool.stats().inflight == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"\xff",
        b"[1]",
        b'"x"',
        b"{}",
        b'{"messages": "hi"}',
        b'{"messages": [], "stream": "yes"}',
        b'{"messages": [{"content": "\\ud800"}]}',
        b'{"messages": [], "temperature": NaN}',
        b"[" * 100_000,
    ],
    ids=[
        "empty",
        "text",
        "bytes",
        "list",
        "str",
        "nothing",
        "no list",
        "stream",
        "surrogate",
        "not a number",
        "deep",
    ],
)
def test_a_request_that_no_server_could_answer_is_refused_by_name(body):
    """The caller gets a 400 and no server hears of it; none of them is the gateway's own error."""
    with pytest.raises((ValueError, RecursionError)):
        names_of("llm-gateway")["checked"](body)


def test_a_request_is_passed_on_as_it_is():
    """A request is passed on as it is, with fields that the gateway does not know."""
    ask = {"messages": [{"role": "user", "content": "hé"}], "stream": None, "top_k": 3}
    assert names_of("llm-gateway")["checked"](json.dumps(ask).encode()) == ask


def stream(*events, end=""):
    """Return an answer that is a stream of events, closed with its connection."""
    lines = "".join(f"{event}\n\n" for event in events) + end
    return f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n{lines}".encode()


def whole(fields):
    """Return an answer in JSON."""
    body = json.dumps(fields).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body)


def piece(text, **more):
    """Return the event of a piece of an answer."""
    return "data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": text}}], **more})


MESSAGE = {"choices": [{"message": {"role": "assistant", "content": "ab"}}]}
REST = stream(piece("b"), "data: [DONE]")


def asked(answers, payload):
    """Ask a gateway over servers that give each of the answers once; return the text, its tokens and what servers received."""
    received = []

    async def main():
        async def answer(reader, writer):
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            received.append(json.loads(await reader.readexactly(length)))
            writer.write(answers[len(received) - 1])
            await writer.drain()
            writer.close()

        servers = [await asyncio.start_server(answer, "127.0.0.1", 0) for _ in answers]
        addresses = [f"127.0.0.1:{server.sockets[0].getsockname()[1]}" for server in servers]
        endpoints = [Endpoint(address, HttpTarget(url=f"http://{address}")) for address in addresses]
        gateway = names_of("llm-gateway")["Gateway"](endpoints, {"acme": 600})
        response = await gateway.chat("acme", payload)
        if payload.get("stream"):
            text = "".join([line async for line in response.body_iterator])
        else:
            text = response.body.decode()
        await gateway.client.aclose()
        for server in servers:
            server.close()
        return text, gateway.tokens["acme"]

    return *asyncio.run(main()), received


@pytest.mark.parametrize(
    "fields", [{}, {"usage": None}, {"usage": {}}, {"usage": {"completion_tokens": None}}], ids=str
)
def test_an_answer_is_given_whether_or_not_its_server_counts(fields):
    """An answer without a usage, as some servers send it, reaches the caller."""
    text, tokens, _ = asked([whole({**MESSAGE, **fields})], {"messages": []})
    assert json.loads(text) == {**MESSAGE, **fields}
    assert tokens == 0


@pytest.mark.parametrize(
    ("answers", "tokens"),
    [
        ([stream(piece("a"), piece("b"), "data: [DONE]")], 2),
        ([stream(piece("a"), piece("b"), "data:[DONE]")], 2),
        ([stream(": ping", 'data: {"choices": [{"delta": null}]}', piece("a"), piece("b"), "data: [DONE]")], 2),
        ([stream(piece("a", usage=None), piece("b"), 'data: {"choices": [], "usage": {"completion_tokens": 7}}', "data: [DONE]")], 7),
        ([stream(piece("a"), 'data: {"error": {"message": "lost", "code": 500}}', "data: [DONE]"), REST], 2),
        ([stream(piece("a"), end='data: {"choices": [{"del'), REST], 2),
        ([stream(piece("a")), REST], 2),
        ([stream(piece("a")), stream(piece("b"), 'data: {"usage": {"completion_tokens": 5}}', "data: [DONE]")], 6),
    ],
    ids=["plain", "no blank", "empty delta", "usage", "error", "cut event", "cut", "usage of the rest"],
)  # fmt: skip
def test_a_stream_ends_once_and_is_whole(answers, tokens):
    """Whichever way servers write events, count tokens or break off, the caller has one answer with one end, and it is counted."""
    text, counted, received = asked(answers, {"messages": [{"role": "user", "content": "x"}], "stream": True})
    events = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("data:")]
    deltas = [one["delta"] for event in events[:-1] for one in json.loads(event).get("choices", ())]
    assert events[-1] == "[DONE]"
    assert "".join(delta["content"] for delta in deltas if delta) == "ab"
    assert counted == tokens
    assert len(received) == len(answers)
    assert [ask["messages"][-1] for ask in received[1:]] == [{"role": "assistant", "content": "a"}] * (
        len(answers) - 1
    )
