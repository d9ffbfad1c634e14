"""Local ports for connections to servers, and what is unknown with direct return."""

from __future__ import annotations

import random
from collections import deque

import pytest

from balancekit.errors import ConfigurationError
from balancekit.l4 import DsrBook, Nat


def flow(number):
    """Return one of many flows."""
    return number.to_bytes(4, "big")


@pytest.mark.parametrize("per", ["server", "address"])
def test_no_two_open_connections_share_what_must_be_unique(per):
    """No two open connections share a local end and server, or a local end alone.

    Ends rest in time, through random opening and closing.
    """
    nat = Nat(["10.0.0.1", "10.0.0.2"], ports=range(5000, 5008), per=per, time_wait=10.0)
    rng, open_now, closed, now = random.Random(5), {}, {}, 0.0
    refused = 0
    for number in range(4000):
        now += rng.random()
        server = rng.choice("abc")
        space = server if per == "server" else ""
        end = nat.open(flow(number), server, now=now)
        if end is None:
            refused += 1
            in_use = sum(1 for there, _ in open_now.values() if per == "address" or there == server)
            resting = sum(1 for (there, _), when in closed.items() if there == space and now < when + 10.0)
            assert in_use + resting == 16
        else:
            assert (space, end) not in {
                (there if per == "server" else "", one) for there, one in open_now.values()
            }
            assert closed.get((space, end), -100.0) + 10.0 <= now
            open_now[number] = (server, end)
            assert nat.reply(server, end) == flow(number)
        if open_now and rng.random() < 0.7:
            gone = rng.choice(list(open_now))
            there, one = open_now.pop(gone)
            nat.close(flow(gone), now=now)
            closed[there if per == "server" else "", one] = now
            assert nat.reply(there, one) is None
    assert refused > 100
    assert nat.stats().refused == refused
    assert len(nat) == nat.stats().open == len(open_now)


def test_a_port_rests_before_it_is_used_again():
    """A port rests for TIME_WAIT. Ports that were never used come first, then those that have rested longest."""
    nat = Nat(["10.0.0.1"], ports=range(5000, 5003), time_wait=60.0)
    assert [nat.open(flow(number), "a", now=0.0)[1] for number in range(2)] == [5000, 5001]
    nat.close(flow(1), now=1.0)
    nat.close(flow(0), now=2.0)
    assert nat.free("a", now=3.0) == 1
    assert nat.open(flow(2), "a", now=100.0)[1] == 5002
    assert nat.open(flow(3), "a", now=100.0)[1] == 5001
    assert nat.open(flow(4), "a", now=100.0)[1] == 5000
    assert nat.open(flow(5), "a", now=100.0) is None
    assert nat.open(flow(5), "b", now=100.0)[1] == 5000
    nat.close(flow(4), now=100.0)
    assert nat.open(flow(6), "a", now=159.9) is None
    assert nat.free("a", now=160.0) == 1
    assert nat.open(flow(6), "a", now=160.0)[1] == 5000


def test_a_server_that_left_is_forgotten_when_its_ports_have_rested():
    """A server that left is forgotten when its ports have rested.

    Its connections are closed, and of 10,000 servers nothing is kept.
    """
    nat = Nat(["10.0.0.1"], ports=range(5000, 5002), time_wait=60.0)
    nat.open(flow(1), "a", now=0.0)
    nat.open(flow(2), "b", now=0.0)
    assert nat.forget("a", now=10.0) == 1
    assert nat.forget("nowhere", now=10.0) == 0
    assert (nat.reply("a", ("10.0.0.1", 5000)), nat.reply("b", ("10.0.0.1", 5000))) == (None, flow(2))
    assert nat.open(flow(3), "a", now=11.0) == ("10.0.0.1", 5001)
    assert nat.open(flow(4), "a", now=69.9) is None
    assert nat.open(flow(4), "a", now=70.0) == ("10.0.0.1", 5000)
    assert nat.forget("a", now=80.0) == 2
    nat.close(flow(9), now=139.9)
    assert (nat.free("a", now=139.9), nat.stats().resting) == (0, 2)
    nat.close(flow(9), now=140.0)
    assert (nat.free("a", now=140.0), nat.stats().resting) == (2, 0)
    assert nat.open(flow(5), "a", now=141.0) == ("10.0.0.1", 5000)


@pytest.mark.parametrize("per", ["server", "address"])
def test_ports_rest_whichever_servers_are_forgotten(per):
    """Through random opening and forgetting, no end is used within ``time_wait`` of its last use in its space."""
    nat = Nat(["10.0.0.1"], ports=range(5000, 5006), per=per, time_wait=10.0)
    rng, now, open_now, closed, again = random.Random(8), 0.0, {}, {}, 0
    for number in range(4000):
        now += rng.random()
        server = rng.choice("abc")
        space = server if per == "server" else ""
        if rng.random() < 0.2:
            gone = [one for one, (there, _) in open_now.items() if there == server]
            assert nat.forget(server, now=now) == len(gone)
            for one in gone:
                closed[space, open_now.pop(one)[1]] = now
        end = nat.open(flow(number), server, now=now)
        if end is not None:
            again += (space, end) in closed
            assert closed.get((space, end), -100.0) + 10.0 <= now
            assert all(
                end != one or (per == "server" and there != server) for there, one in open_now.values()
            )
            open_now[number] = (server, end)
    assert again > 300


def test_servers_that_come_and_go_leave_nothing_behind():
    """After 10,000 servers that were forgotten, the tables hold what two did."""
    nat, book, sizes = Nat(time_wait=60.0), DsrBook(direct=["direct"]), []
    for number in range(10_000):
        server = f"server {number}"
        nat.open(flow(number), server, now=100.0 * number)
        book.received(server, 10, opened=True)
        book.sent(server, 10)
        nat.forget(server, now=100.0 * number)
        book.forget(server)
        assert (book.traffic(server).opened, book.traffic(server).bytes_out) == (0, 0)
        sizes.append((_held(nat), _held(book)))
    assert len(set(sizes[2:])) == 1
    book.forget("direct")
    assert book.traffic("direct").bytes_out is None


def _held(book):
    """Return how many things the containers of an object hold."""
    values = [getattr(book, name) for name in type(book).__slots__]
    return sum(len(value) for value in values if isinstance(value, (dict, deque)))


def test_a_retransmitted_packet_opens_nothing():
    """A flow that is open keeps its end; to another server it must be closed first."""
    nat = Nat(["10.0.0.1"])
    first = nat.open(flow(1), "a", now=0.0)
    assert nat.open(flow(1), "a", now=1.0) == first == ("10.0.0.1", 1024)
    with pytest.raises(ConfigurationError, match="server='b'"):
        nat.open(flow(1), "b", now=1.0)
    nat.close(flow(9), now=1.0)
    assert (len(nat), nat.free("b", now=1.0)) == (1, 64_512)
    assert repr(nat) == "<Nat with 1 connections open>"


@pytest.mark.parametrize(
    ("parameter", "options"),
    [
        ("addresses", {"addresses": []}),
        ("addresses", {"addresses": "10.0.0.1"}),
        ("addresses", {"addresses": ["nowhere"]}),
        ("addresses", {"addresses": ["10.0.0.1", "10.0.0.1"]}),
        ("ports", {"ports": range(0)}),
        ("ports", {"ports": range(10)}),
        ("ports", {"ports": range(65_000, 65_537)}),
        ("ports", {"ports": [5000]}),
        ("per", {"per": "flow"}),
        ("time_wait", {"time_wait": -1.0}),
    ],
)
def test_a_wrong_option_is_refused_by_name(parameter, options):
    """Each wrong value raises ConfigurationError at construction, which names the parameter and what is allowed."""
    with pytest.raises(ConfigurationError) as caught:
        Nat(**{"addresses": ["10.0.0.1"]} | options)
    assert caught.value.parameter == parameter


def test_what_bypasses_the_balancer_is_unknown_not_zero():
    """Bytes out are None with direct return, and the signals that replies carry are missing."""
    book = DsrBook(direct=["a"])
    for owner in "ab":
        book.received(owner, 100, opened=True)
        book.received(owner, 50)
    book.sent("b", 9000)
    a, b = book.traffic("a"), book.traffic("b")
    assert (a.opened, a.bytes_in, a.bytes_out) == (1, 150, None)
    assert (b.opened, b.bytes_in, b.bytes_out) == (1, 150, 9000)
    c = book.traffic("c")
    assert (c.opened, c.bytes_in, c.bytes_out) == (0, 0, 0)
    assert book.signals("b") - book.signals("a") == {"connections closed", "bytes out", "latency", "status"}
    assert repr(book) == "<DsrBook of 2 endpoints>"


def test_a_reply_that_passes_shows_that_the_endpoint_is_not_direct():
    """A reply that passes shows that the endpoint is not direct, and is refused.

    Sizes are whole numbers from 0 on.
    """
    book = DsrBook(direct=["a"])
    for parameter, act in (
        ("owner", lambda: book.sent("a", 1)),
        ("size", lambda: book.sent("b", -1)),
        ("size", lambda: book.received("b", 1.5)),
        ("opened", lambda: book.received("b", 1, opened=1)),
        ("direct", lambda: DsrBook(direct="a")),
    ):
        with pytest.raises(ConfigurationError) as caught:
            act()
        assert caught.value.parameter == parameter
