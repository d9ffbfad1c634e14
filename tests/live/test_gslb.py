"""Real ``dig`` and an unmodified Unbound against both DNS adapters, on loopback."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from ipaddress import ip_interface
from pathlib import Path
from random import Random

import dns.edns
import dns.message
import dns.query
import pytest
from dnslib.server import DNSLogger, DNSServer

from balancekit.adapters.dnslib import GslbResolver
from balancekit.adapters.dnspython import DnsResponder
from balancekit.compat import gdnsd
from balancekit.gslb import AllUp, Client, Geo, GeoMap, Query, Soa, Ttl, Zone, fixed_standings

DATA = Path(__file__).parents[1] / "oracles" / "data"
SOA = Soa(primary="ns1.example.com", contact="admin.example.com")
UP = fixed_standings({})
MAPPED = {
    "10.0.0.0/8": ["eu"], "10.128.0.0/9": ["us"], "10.128.64.0/20": ["ap", "us"], "192.0.2.0/24": ["us", "eu"],
    "198.51.100.0/24": ["ap"], "203.0.113.0/24": ["us"], "198.18.0.0/15": ["ap", "eu"], "198.19.0.0/17": ["eu"],
    "2001:db8::/32": ["us"], "2001:db8:1::/48": ["eu"], "2001:db8:2::/47": ["ap"],
}  # fmt: skip
SUBNETS = [
    "10.1.2.0/24", "10.127.255.0/24", "10.128.0.0/24", "10.128.64.0/24", "10.128.80.0/24", "10.200.0.0/16",
    "192.0.2.0/24", "192.0.2.128/25", "192.0.3.0/24", "198.51.100.0/24", "198.51.100.7/32", "198.51.101.0/24",
    "203.0.113.0/24", "198.18.0.0/24", "198.19.0.0/24", "198.19.128.0/17", "8.8.8.0/24", "0.0.0.0/0",
    "2001:db8:1::/56", "2001:db8:2::/48", "2001:db8:3:4::/64", "2001:db8:4::/56", "2001:db9::/32", "::/0",
]  # fmt: skip
ZONE = Zone(
    "example.com",
    SOA,
    {
        "www": Geo(
            GeoMap.build(networks=MAPPED, default=["eu", "us"]), {s: AllUp([s]) for s in ("eu", "us", "ap")}
        )
    },
    addresses={
        "eu": ["192.0.2.1", "2001:db8::1"],
        "us": ["192.0.2.2", "2001:db8::2"],
        "ap": ["192.0.2.3", "2001:db8::3"],
    },
)
MALFORMED = [
    "", "00", "0001", "000118", "00011818c63364", "00011801c63364", "00011400c63364", "00011f00c6336407",
    "00011800c6336407", "00011800c633", "00012000c63364", "00010000c6", "00012100c6336407", "0001ff00c6336407",
    "00031800c63364", "00001800c63364", "00000000", "00030000", "ffff1800c63364", "0002383820010db8000100",
    "00023400" + "20010db8000101", "0002810020010db8", "0002380020010db80001", "000238002001" + "0db800010000ff",
]  # fmt: skip


def free_port():
    """Return a port that is free for UDP and TCP."""
    for _ in range(50):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind(("127.0.0.1", 0))
            try:
                tcp.bind(udp.getsockname())
            except OSError:
                continue
            return int(udp.getsockname()[1])
    raise AssertionError("no port")


@contextmanager
def dnslib_server(zone):
    """Run ``dnslib``'s threaded servers."""
    port, resolver = free_port(), GslbResolver(zone, UP, rng=Random(1))
    quiet = DNSLogger("-request,-reply,-truncated,-error", prefix=False)
    servers = [
        DNSServer(resolver, address="127.0.0.1", port=port, tcp=tcp, logger=quiet) for tcp in (False, True)
    ]
    for server in servers:
        server.start_thread()
    try:
        yield port
    finally:
        for server in servers:
            server.stop()
            server.server.server_close()


class Datagrams(asyncio.DatagramProtocol):
    """What the documents show."""

    def __init__(self, responder):
        self.responder = responder

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        reply = self.responder.answer_wire(data, address[0])
        if reply is not None:
            self.transport.sendto(reply, address)


@contextmanager
def asyncio_server(zone):
    """Run the wire responder on an asyncio loop, UDP and TCP."""
    port, responder = free_port(), DnsResponder(zone, UP, rng=Random(1))
    started, loop = threading.Event(), asyncio.new_event_loop()
    stopping = asyncio.Event()

    async def stream(reader, writer):
        try:
            while head := await reader.readexactly(2):
                wire = await reader.readexactly(int.from_bytes(head, "big"))
                reply = responder.answer_wire(wire, writer.get_extra_info("peername")[0], tcp=True)
                writer.write(len(reply).to_bytes(2, "big") + reply)
                await writer.drain()
        except asyncio.IncompleteReadError:
            writer.close()

    async def serve():
        transport, _ = await loop.create_datagram_endpoint(lambda: Datagrams(responder), ("127.0.0.1", port))
        server = await asyncio.start_server(stream, "127.0.0.1", port)
        started.set()
        await stopping.wait()
        transport.close()
        server.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    started.wait(10)
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(10)
        loop.close()


SERVERS = pytest.mark.parametrize("server", [dnslib_server, asyncio_server])
NEEDS_DIG = pytest.mark.skipif(shutil.which("dig") is None, reason="needs dig (Debian: bind9-dnsutils)")
NEEDS_UNBOUND = pytest.mark.skipif(shutil.which("unbound") is None, reason="needs unbound")


def dig(port, *words):
    """Return what ``dig`` prints."""
    done = subprocess.run(
        ["dig", "@127.0.0.1", "-p", str(port), "+tries=1", "+time=5", *words],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return done.stdout or done.stderr


@NEEDS_DIG
@SERVERS
def test_dig_is_told_address_ttl_and_scope_for_24_subnets(server):
    """``dig`` gets the address, TTL and scope of the zone for 24 subnets, by A and AAAA, UDP and TCP."""
    rows = []
    with server(ZONE) as port:
        for subnet in SUBNETS:
            for kind in ("A", "AAAA"):
                client = Client(address="127.0.0.1", subnet=ip_interface(subnet).network)
                expected = ZONE.answer(
                    Query(name="www.example.com", kind=kind, client=client), UP, now=0.0, rng=Random(1)
                )
                for transport in ("+notcp", "+tcp"):
                    text = dig(port, f"+subnet={subnet}", transport, "www.example.com", kind)
                    record = re.search(
                        rf"^www\.example\.com\.\s+(\d+)\s+IN\s+{kind}\s+(\S+)$", text, re.MULTILINE
                    )
                    scope = re.search(r"CLIENT-SUBNET: \S+/(\d+)/(\d+)", text)
                    assert record, text
                    assert scope, text
                    assert (int(record[1]), record[2]) == (expected.records[0].ttl, expected.records[0].data)
                    assert int(scope[2]) == expected.scope
                rows.append(f"{subnet:20} {kind:4} {record[2]:12} ttl {record[1]:3} scope {scope[2]}")
    sys.stdout.write("\n".join([server.__name__, *rows, ""]))
    assert len(rows) == 48


@NEEDS_DIG
@SERVERS
def test_a_malformed_subnet_option_is_formerr(server):
    """Each of 24 malformed subnet options of ``dig +ednsopt`` gets FORMERR."""
    assert len(set(MALFORMED)) == 24
    with server(ZONE) as port:
        for data in MALFORMED:
            assert "status: FORMERR" in dig(port, f"+ednsopt=8:{data}", "www.example.com", "A"), data


PATIENT = """
server:
  unknown-server-time-limit: 10000
  infra-cache-min-rtt: 10000
"""
"""An authority that stands still for a moment is not asked the same again, which would be counted."""


@contextmanager
def unbound(config, port, authority, folder):
    """Run Unbound in front of an authority, from a recorded configuration."""
    text = config.replace("5336", str(port)).replace("5335", str(authority)).replace("BOX", str(folder))
    path = folder / "unbound.conf"
    path.write_text(text + PATIENT)
    process = subprocess.Popen(
        ["unbound", "-d", "-c", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(100):
            if "status:" in dig(port, "+norecurse", "version.bind", "CH", "TXT"):
                break
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(10)


def ask(port, subnet, kind):
    """Return the sorted answers of a resolver, and the scope that it tells."""
    options = [] if subnet is None else [dns.edns.ECSOption.from_text(subnet)]
    query = dns.message.make_query("www.example.com", kind, use_edns=subnet is not None, options=options)
    reply = dns.query.udp(query, "127.0.0.1", port=port, timeout=20.0)
    answers = [str(record) for records in reply.answer for record in records]
    scopes = [option.scopelen for option in reply.options if isinstance(option, dns.edns.ECSOption)]
    return sorted(answers), *scopes


class Counted:
    """A zone that counts its answers to queries with a client subnet, as the recording did.

    A client that asks not to use its subnet makes Unbound ask without the option: gdnsd is asked then too
    (seen in its own statistics), but not counted.
    """

    def __init__(self, zone):
        self.zone = zone
        self.asked = 0

    def __getattr__(self, name):
        return getattr(self.zone, name)

    def answer(self, query, standings, **options):
        self.asked += query.name.lower().rstrip(".") == "www.example.com" and query.client.subnet is not None
        return self.zone.answer(query, standings, **options)


@NEEDS_DIG
@NEEDS_UNBOUND
@pytest.mark.timeout(90)
@SERVERS
@pytest.mark.parametrize("trace", sorted(DATA.glob("unbound-*.json")), ids=lambda path: path.stem)
def test_an_unmodified_resolver_caches_our_answers_as_it_did_gdnsds(server, trace, tmp_path):
    """Answers, scopes, and which queries reach the authority, are those of the trace."""
    recorded = json.loads(trace.read_text())
    config = recorded["config"]
    addresses = config["datacenters"]
    geo = gdnsd.geo_map({"datacenters": list(addresses), "nets": config["networks"]})
    policy = gdnsd.geoip(geo, {name: gdnsd.multifo([name]) for name in addresses})
    ttl = Ttl(minimum=config["ttl"], maximum=config["ttl"])
    zone = Counted(Zone("example.com", SOA, {"www": policy}, addresses=addresses, ttl=ttl))
    port = free_port()
    with server(zone) as authority, unbound(config["native"]["unbound"], port, authority, tmp_path):
        began = time.monotonic()
        for query, expected in zip(recorded["inputs"]["queries"], recorded["outputs"], strict=True):
            time.sleep(max(0.0, began + query["t"] - time.monotonic()))
            before = zone.asked
            scope = [expected["scope"]] if "scope" in expected else []
            assert ask(port, query["ecs"], query["type"]) == (expected["answers"], *scope)
            assert zone.asked - before == expected["asked_authority"], query
