"""What a source must not do: hang, read without end, name addresses without a route, or stay dead."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading

import dns.exception
import dns.name
import dns.resolver
import pytest
from tests._descriptors import no_descriptor
from tests.discovery._dns_server import EMPTY, NXDOMAIN, SERVFAIL, dns_server

from balancekit import LoadBalancer
from balancekit.adapters._target import address_of
from balancekit.checks import AsyncChecks, TcpCheck
from balancekit.discovery import (
    AsyncDiscovery,
    DnsResolver,
    FileSdResolver,
    HttpSdResolver,
    InvalidTargetsError,
    SrvResolver,
    SystemResolver,
)
from balancekit.discovery import _families as families
from balancekit.discovery._targets import MAX_LIST_BYTES

BOTH = ["10.0.0.1", "10.0.0.2", "2001:db8::1"]


@pytest.mark.parametrize(
    ("routes", "addresses", "found"),
    [
        ({4}, BOTH, BOTH[:2]),
        ({6}, BOTH, BOTH[2:]),
        ({4, 6}, BOTH, BOTH),
        (set(), BOTH, BOTH),
        ({4}, BOTH[2:], BOTH[2:]),
        ({6}, BOTH[:2], BOTH[:2]),
        ({4}, [], []),
        ({4, 6}, ["10.0.0.1", "fe80::1", "2001:db8::1"], ["10.0.0.1", "2001:db8::1"]),
        ({4, 6}, ["10.0.0.1", "FEBF::1"], ["10.0.0.1"]),
        ({4, 6}, ["10.0.0.1", "fec0::1", "fe80::1%2"], ["10.0.0.1", "fec0::1", "fe80::1%2"]),
        ({4, 6}, ["fe80::1"], ["fe80::1"]),
    ],
)
def test_addresses_of_a_family_without_a_route_are_left_out(routes, addresses, found):
    """Addresses of a family without a route are left out only where another family has a route."""
    assert families.reachable(addresses, has_route=lambda one: (6 if ":" in one else 4) in routes) == found


def test_loopback_has_a_route_and_what_is_no_address_has_none():
    """Loopback has a route and a text that is no address has none. The system is asked, and nothing is sent."""
    assert families.has_route("127.0.0.1")
    assert not families.has_route("no address")


def test_a_dual_stack_name_has_no_dead_half(monkeypatch):
    """The system's resolver names both families; the endpoints are those that can be reached, each once."""
    places = [(socket.AF_INET6, 1, 6, "", ("2001:db8::1", 80, 0, 0))]
    places += [
        (socket.AF_INET, 1, 6, "", (address, 80)) for address in ("127.0.0.1", "127.0.0.2", "127.0.0.1")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: places)
    monkeypatch.setattr(
        families.reachable, "__kwdefaults__", {"has_route": lambda address: ":" not in address}
    )
    assert [e.id for e in SystemResolver("orders", 80).resolve().endpoints] == [
        "127.0.0.1:80",
        "127.0.0.2:80",
    ]


def test_a_link_local_address_keeps_its_zone(monkeypatch):
    """Two link-local addresses that differ in their zone alone are two endpoints, whose targets say the zone."""
    places = [(socket.AF_INET6, 1, 6, "", ("fe80::1", 80, 0, zone)) for zone in (2, 3)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: places)
    found = SystemResolver("orders", 80).resolve().endpoints
    assert [one.id for one in found] == ["[fe80::1%2]:80", "[fe80::1%3]:80"]
    assert [address_of(one.target).host for one in found] == ["fe80::1%2", "fe80::1%3"]


def test_search_domains_are_those_of_the_system():
    """A short name is looked for in the search domains, as ``getaddrinfo`` does; with own nameservers there are none."""
    with dns_server() as (zone, place):
        zone.a("orders.default.svc", "127.0.0.7")
        zone.says["orders.default.svc", "AAAA"] = EMPTY
        zone.srv("_http._tcp.orders.default.svc", (0, 1, 80, "p.test"))
        for name in ("orders", "orders.other.svc", "_http._tcp.orders", "_http._tcp.orders.other.svc"):
            zone.fail(NXDOMAIN, name)
        for resolver, id in (
            (DnsResolver("orders", 80, nameservers=[place]), "127.0.0.7:80"),
            (SrvResolver("_http._tcp.orders", nameservers=[place]), "p.test:80"),
        ):
            assert resolver.resolve().endpoints == ()
            resolver._client.search = [dns.name.from_text("other.svc."), dns.name.from_text("default.svc.")]
            resolver._client.ndots = 5
            assert [endpoint.id for endpoint in resolver.resolve().endpoints] == [id]


@pytest.fixture
def system(monkeypatch, tmp_path):
    """Run a DNS server that is the system's; yield its zone and a function that writes lines of ``resolv.conf``."""
    with dns_server() as (zone, place):
        file, read = tmp_path / "resolv.conf", dns.resolver.Resolver.read_resolv_conf

        def configure(self, _):
            read(self, str(file))
            self.port = int(place.rpartition(":")[2])

        def write(*lines):
            file.write_text("\n".join(["nameserver 127.0.0.1", *lines, ""]))

        monkeypatch.setattr(dns.resolver.Resolver, "read_resolv_conf", configure)
        yield zone, write


SHORT = {DnsResolver: "orders", SrvResolver: "_http._tcp.orders"}


def found(kind):
    """Return what the resolver of a short name finds, by id."""
    resolver = DnsResolver("orders", 80) if kind is DnsResolver else SrvResolver("_http._tcp.orders")
    return [endpoint.id for endpoint in resolver.resolve().endpoints]


def have(zone, domain, *addresses):
    """Have a service in a domain."""
    zone.a(f"orders.{domain}", *addresses)
    zone.srv(f"_http._tcp.orders.{domain}", *[(0, 1, 80, address) for address in addresses])


@pytest.mark.parametrize("how", [NXDOMAIN, EMPTY, SERVFAIL], ids=["no such name", "no data", "a failure"])
@pytest.mark.parametrize("kind", [DnsResolver, SrvResolver])
def test_a_search_goes_on_to_the_domain_that_has_records(system, kind, how):
    """A domain that has no such name, no records or servers that fail is followed by the next one."""
    zone, write = system
    write("search one.test two.test", "options ndots:5")
    zone.fail(how, f"{SHORT[kind]}.one.test")
    have(zone, "two.test", "10.0.0.2")
    assert found(kind) == ["10.0.0.2:80"]


@pytest.mark.parametrize("kind", [DnsResolver, SrvResolver])
def test_a_domain_of_the_system_is_searched(system, kind):
    """A line ``domain`` is a search list of one."""
    zone, write = system
    write("domain one.test")
    have(zone, "one.test", "10.0.0.1")
    assert found(kind) == ["10.0.0.1:80"]


@pytest.mark.parametrize("kind", [DnsResolver, SrvResolver])
def test_a_search_of_failures_alone_knows_nothing(system, kind):
    """If no domain has records and the servers of one fail, that is a failure, and no empty list."""
    zone, write = system
    write("search one.test two.test", "options ndots:5")
    zone.fail(SERVFAIL, f"{SHORT[kind]}.one.test")
    with pytest.raises(dns.exception.DNSException):
        found(kind)


@pytest.mark.parametrize("without", [NXDOMAIN, EMPTY], ids=["no such name", "no data"])
def test_both_families_are_those_of_one_domain(system, without):
    """A domain with addresses of one family has the whole list: the other family is not taken from the next domain."""
    zone, write = system
    write("search one.test two.test", "options ndots:5")
    zone.a("orders.one.test", "127.0.0.1")
    zone.says["orders.one.test", "AAAA"] = without
    zone.aaaa("orders.two.test", "::1")
    assert found(DnsResolver) == ["127.0.0.1:80"]


def test_a_family_that_fails_in_a_domain_is_half_a_list(system):
    """Addresses of one family whose other family cannot be had are no list, and the next domain is not searched."""
    zone, write = system
    write("search one.test two.test", "options ndots:5")
    zone.a("orders.one.test", "127.0.0.1")
    zone.says["orders.one.test", "AAAA"] = SERVFAIL
    zone.a("orders.two.test", "127.0.0.2")
    with pytest.raises(dns.exception.DNSException):
        found(DnsResolver)


def test_a_domain_that_makes_the_name_too_long_is_passed_over(system):
    """A name is found as it is, though a search domain would make it longer than names may be."""
    zone, write = system
    name = ".".join(["a" * 60] * 3)
    write(f"search {'b' * 60}.{'c' * 60}", "options ndots:5")
    zone.a(name, "10.0.0.1")
    assert [endpoint.id for endpoint in DnsResolver(name, 80).resolve().endpoints] == ["10.0.0.1:80"]


def test_a_name_of_enough_dots_is_looked_for_as_it_is_first(system):
    """A name with dots is queried as it is, and in search domains only if it has no records; one with the root's dot never is."""
    zone, write = system
    write("search one.test")
    have(zone, "svc", "10.0.0.1")
    have(zone, "svc.one.test", "10.0.0.2")
    zone.a("other.svc.one.test", "10.0.0.3")
    names = {"orders.svc": "10.0.0.1", "other.svc": "10.0.0.3", "other.svc.": None}
    for name, address in names.items():
        ids = [endpoint.id for endpoint in DnsResolver(name, 80).resolve().endpoints]
        assert ids == ([] if address is None else [f"{address}:80"])


def test_a_pipe_is_no_list_and_hangs_no_caller(tmp_path):
    """A FIFO without a writer, a device and a directory are errors at once."""
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", "/dev/zero", tmp_path):
        with pytest.raises((OSError, InvalidTargetsError)):
            FileSdResolver(path).resolve()


@pytest.mark.skipif(
    not os.access("/proc/kmsg", os.R_OK), reason="needs root, and a Linux kernel that shows its messages"
)
def test_a_file_of_the_kernel_that_waits_hangs_no_caller():
    """A file that says it is regular, and waits for what the kernel will say, is an error at once."""
    told = []

    def resolve():
        try:
            FileSdResolver("/proc/kmsg").resolve()
        except (OSError, InvalidTargetsError) as error:
            told.append(error)

    thread = threading.Thread(target=resolve, daemon=True)
    thread.start()
    thread.join(10.0)
    assert len(told) == 1


def test_a_file_without_end_is_read_to_the_limit_only(tmp_path):
    """A file of more than 16 MiB is no list, and no more of it is read; one of 16 MiB is."""
    path = tmp_path / "targets.json"
    path.write_bytes(b"[]" + b" " * (MAX_LIST_BYTES - 2))
    assert FileSdResolver(path).resolve().endpoints == ()
    path.write_bytes(b"[]" + b" " * (MAX_LIST_BYTES - 1))
    with pytest.raises(InvalidTargetsError, match=f"more than {MAX_LIST_BYTES} bytes"):
        FileSdResolver(path).resolve()


def test_a_head_that_drips_is_given_up():
    """The timeout of ``http_sd`` is for the whole answer, its head included: letters that keep coming do not extend it."""
    gone = threading.Event()

    def drip(server):
        connection, _ = server.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while not gone.wait(0.02):
                connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=[server])
        thread.start()
        with pytest.raises(TimeoutError):
            HttpSdResolver(f"http://127.0.0.1:{server.getsockname()[1]}/", timeout=0.3).resolve()
        gone.set()
        thread.join()


async def started(runner):
    """Start a runner and forget it; its loop ends."""
    await runner.start()
    await asyncio.sleep(0.05)
    assert runner.running


@pytest.mark.parametrize("end", ["is stopped", "starts again"])
def test_a_runner_whose_loop_has_ended_is_not_running(end):
    """A runner whose loop has gone reports that it is not running, can be stopped without an error, and starts again in another loop."""
    lb = LoadBalancer(["a:1", "b:1"])
    asked = []

    async def ask():
        asked.append(1)
        return ["a:1", f"c{len(asked)}:1"]

    discovery = AsyncDiscovery(lb, ask)
    checks = AsyncChecks(lb, TcpCheck(address=lambda _: "127.0.0.1:1"))
    for runner in (discovery, checks):
        asyncio.run(started(runner))
        assert not runner.running
    seen = len(asked)

    async def again():
        for runner in (discovery, checks):
            if end == "is stopped":
                await runner.stop()
            await runner.start()
            assert runner.running
        assert await discovery.wait_ready(5.0)
        for runner in (discovery, checks):
            await runner.stop()
            assert not runner.running

    asyncio.run(again())
    assert len(asked) > seen
    assert discovery.stats().refreshes["changed"] >= 2


def test_a_process_without_descriptors_knows_of_no_empty_list():
    """The system says "no such name" of every name then; that is a failure, and the last good list stays in use."""
    with no_descriptor(), pytest.raises(OSError):
        SystemResolver("localhost", 80).resolve()
    assert SystemResolver("localhost", 80).resolve().endpoints
