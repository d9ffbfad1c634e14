"""Every parser of text or bytes from elsewhere, with a valid input, and mutations of it."""

from __future__ import annotations

import base64
import json
import random
import ssl
import tomllib
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

from balancekit.adapters import HttpTarget
from balancekit.adapters._retry_after import quota_reset, retry_after
from balancekit.adapters._target import address_of
from balancekit.checks._http import Response
from balancekit.config import load
from balancekit.discovery import DnsResolver, EndpointSlices, SrvResolver, parse_targets, source
from balancekit.gslb import decode_subnet, encode_subnet, read_csv, zone_file
from balancekit.ha import Advert, LoggedAdvert, decode_advert, encode_advert, read_advert_log
from balancekit.l4 import client_hello, proxy_protocol
from balancekit.l7 import Request, route_table
from balancekit.reported import parse_orca
from balancekit.routing import StickyValues, source_prefix
from balancekit.sim import builtin_scenarios, load_scenario, read_recording

__all__ = ["READERS", "VALID", "mutated"]

PIECES: Final = [
    *(character.encode("utf-8", "surrogatepass") for character in "0123456789 ,:-+.%[]{}()=;?#@/\\\"'\r\n\t\0aZé\u0663\uff48\udcff\U0001f600"),
    b"true", b"null", b"nan", b"http://", b"unix:", b"[::1]", b"\xff", b"\x80", b"\0" * 4, b"9" * 400, b"-" + b"9" * 5_000, b"1e999", b"[" * 2_000,
    b'{"a":' * 2_000,
]  # fmt: skip
"""What is put into a text: letters, words of formats, bytes that are no UTF-8, huge numbers, deep nesting."""
ADVERT: Final = Advert(version=3, vrid=51, priority=150, interval=0.5, addresses=("192.0.2.100",))
MULTICAST: Final = {"source": "192.0.2.11", "destination": "224.0.0.18"}
STICKY: Final = StickyValues("orders", [b"sixteen secrets!"])
ROW: Final = (
    '{"time": 0.1, "key": null, "cost": 1.0, "endpoint": "a", "duration": 0.3, "outcome": "success"}\n'
)
CONFIGURATION: Final = """
endpoints = ["10.0.0.1:80", {id = "b", target = "10.0.0.2:80", weight = 2}]
[balancer]
selector = "RingHash"
[checks]
kind = "http"
path = "/healthz"
[retry]
attempts = 3
"""
ROUTES: Final = {
    "route": [
        {"name": "api", "to": "api", "prefix": "/api", "headers": [{"name": "x", "is": "1"}]},
        {"name": "site", "to": "web"},
    ]
}
ZONE: Final = {
    "zone": {"origin": "example.com", "primary": "ns1.example.com", "contact": "admin.example.com"},
    "endpoints": {"eu-1": "192.0.2.1", "eu-2": "192.0.2.2"},
    "names": {"www": {"policy": "primary-backup", "primary": "eu-1", "backup": "eu-2"}},
}
SLICE: Final = {
    "metadata": {"name": "orders-x", "resourceVersion": "7"},
    "ports": [{"name": "http", "port": 8080}],
    "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}, "zone": "eu-1"}],
}  # fmt: skip


def _hello() -> bytes:
    """Return what a TLS client sends first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        context.wrap_bio(incoming, outgoing, server_hostname="orders.test").do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError


def _dns(kind: str, *records: str) -> bytes:
    """Return an answer of a name server."""
    import dns.message
    import dns.rrset

    asked = dns.message.make_query("orders.test.", kind)
    answer = dns.message.make_response(asked)
    answer.answer.append(dns.rrset.from_text("orders.test.", 30, "IN", kind, *records))
    wire: bytes = answer.to_wire()
    return wire


class _Client:
    """A client of DNS whose answer has been decided."""

    search = ()
    lifetime = 1.0
    ndots = None

    def __init__(self, wire: bytes) -> None:
        import dns.name

        self.wire = wire
        self.domain = dns.name.root

    def resolve(self, name: Any, kind: str, **_: Any) -> Any:
        import dns.message
        import dns.rdataclass
        import dns.rdatatype
        import dns.resolver

        told: Any = dns.message.from_wire(self.wire)
        if not isinstance(told, dns.message.QueryMessage):
            raise dns.exception.FormError
        return dns.resolver.Answer(name, dns.rdatatype.from_text(kind), dns.rdataclass.IN, told)


def _resolved(resolver: Any, wire: bytes) -> None:
    resolver._client = _Client(wire)
    resolver.resolve()


def _answer(data: bytes) -> None:
    """Read an answer of a check, in two pieces and the end."""
    response = Response()
    for piece in (data[: len(data) // 2], data[len(data) // 2 :], b""):
        if piece or not response.ended:
            response.feed(piece)


def _file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], None]:
    """Return a reader of a file with this content, in the folder where the test is."""

    def reader(data: bytes) -> None:
        path = Path(name)
        path.write_bytes(data)
        read(path)

    return reader


def _text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: read(data.decode("utf-8", "surrogateescape"))


def _document(read: Callable[[Any], object]) -> Callable[[bytes], None]:
    """Return a reader of a document that JSON or TOML has parsed; what they refuse is theirs."""

    def reader(data: bytes) -> None:
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            return
        read(document)

    return reader


def _headers(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    retry_after({"Retry-After": text, "retry-after-ms": text[::-1]}, wall=0.0)
    quota_reset({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": text})


def _requested(data: bytes) -> None:
    text = data.decode("latin-1")
    Request.from_url(text)
    request = Request("/", headers={"cookie": text, "x": text}, query=text)
    request.cookie("a"), request.header("x"), request.parameter("a")


READERS: Final[dict[str, Callable[[bytes], object]]] = {
    "targets": parse_targets,
    "target": _text(lambda text: (address_of(text), HttpTarget(text))),
    "source": _text(source),
    "sticky": _text(STICKY.read),
    "answer of a check": _answer,
    "date": _headers,
    "duration": _headers,
    "address": _text(source_prefix),
    "PROXY 1": lambda data: (proxy_protocol.parse(data), proxy_protocol.parse(data, mode="optional")),
    "PROXY 2": lambda data: (proxy_protocol.parse(data), proxy_protocol.parse(data, mode="optional")),
    "ClientHello": client_hello.peek,
    "VRRP": lambda data: decode_advert(data, hop_limit=255, **MULTICAST),
    "log of adverts": lambda data: list(
        read_advert_log(data.decode("utf-8", "surrogateescape").splitlines())
    ),
    "client subnet": decode_subnet,
    "DNS address": lambda data: _resolved(
        DnsResolver("orders.test", 80, kinds=["A"], nameservers=["127.0.0.1"]), data
    ),
    "DNS service": lambda data: _resolved(SrvResolver("orders.test", nameservers=["127.0.0.1"]), data),
    "scenario": _file("scenario.toml", load_scenario),
    "configuration in TOML": _file("configuration.toml", load),
    "configuration in JSON": _file("configuration.json", load),
    "recording": _file("log.jsonl", read_recording),
    "routes": _document(route_table),
    "zone": _document(zone_file),
    "endpoint slice": _document(lambda piece: EndpointSlices().apply("ADDED", piece)),
    "load report": _text(parse_orca),
    "binary load report": parse_orca,
    "locations": lambda data: read_csv(data.decode("utf-8", "surrogateescape").splitlines()),
    "request": _requested,
}
"""What reads each kind of input."""


def _sources() -> dict[str, bytes | str]:
    return {
        "targets": json.dumps([{"targets": ["10.0.0.1:80"], "labels": {"__weight__": "2", "__priority__": "1", "x": "y"}}]),
        "target": "https://api.example.com:8443/v1",
        "source": "static:10.0.0.1:80,10.0.0.2:80?interval=30",
        "sticky": STICKY.issue("10.0.0.1:8080"),
        "answer of a check": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "date": "Thu, 01 Jan 1970 00:01:00 GMT",
        "duration": "6m0s",
        "address": "2001:db8::1",
        "PROXY 1": "PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\nGET / HTTP/1.1\r\n",
        "PROXY 2": proxy_protocol.build(("2001:db8::1", 1), ("2001:db8::2", 443), version=2),
        "ClientHello": _hello(),
        "VRRP": encode_advert(ADVERT, **MULTICAST),
        "log of adverts": LoggedAdvert(1.5, "192.0.2.11", "224.0.0.18", 255, encode_advert(ADVERT, **MULTICAST)).line() + "\n",
        "client subnet": encode_subnet(ip_network("198.51.100.0/24")),
        "DNS address": _dns("A", "10.0.0.1", "10.0.0.2"),
        "DNS service": _dns("SRV", "1 2 8080 a.test.", "1 0 8080 b.test."),
        "scenario": builtin_scenarios()["slow-server"],
        "configuration in TOML": CONFIGURATION,
        "configuration in JSON": json.dumps(tomllib.loads(CONFIGURATION)),
        "recording": ROW * 3,
        "routes": json.dumps(ROUTES),
        "zone": json.dumps(ZONE),
        "endpoint slice": json.dumps(SLICE),
        "load report": 'JSON {"application_utilization": 0.4, "rps_fractional": 120, "named_metrics": {"kv": 0.5}}',
        "binary load report": base64.b64decode("ETMzMzMzM9M/GQAAAAAAAOA/"),
        "locations": "network,country,continent\n198.51.100.0/24,US,NA\n",
        "request": "https://eu.shop.test:8443/orders?a=7; b=%zz#top",
    }  # fmt: skip


VALID: Final = {name: one if isinstance(one, bytes) else one.encode() for name, one in _sources().items()}
"""An input that each reader takes."""


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Change an input in a few places: flipped bits, other bytes and words, missing parts, repeated parts."""
    for _ in range(rng.randrange(1, 6)):
        place, end = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
        kind = rng.randrange(6)
        if kind == 0:
            data = data[:place] + rng.choice(PIECES) + data[place:]
        elif kind == 1:
            data = data[:place] + rng.choice(PIECES) + data[place + 1 :]
        elif kind == 2:
            data = data[:place] + data[min(end, place + 8) :]
        elif kind == 3:
            data = data[:place] + data[place:end] * rng.choice((2, 3, 50)) + data[end:]
        elif kind == 4 and place < len(data):
            data = data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]
        else:
            data = data[:place]
        data = data[:MAX_BYTES]
    return data


MAX_BYTES: Final = 200_000
"""Of a mutated input."""
