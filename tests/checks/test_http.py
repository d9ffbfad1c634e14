"""What answers mean, whatever pieces they come in."""

from __future__ import annotations

import itertools
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancekit import ConfigurationError, Endpoint
from balancekit.checks import DeepCheck, HttpCheck, TcpCheck
from balancekit.checks._http import BODY_LIMIT, HEAD_LIMIT, MAX_PIECES, BadAnswerError, Response

A = Endpoint("a", "10.0.0.1:8080")
BODIES = st.binary(max_size=300)


def chunked(body, sizes):
    """Cut a body into chunks."""
    parts, place = [], 0
    for size in [*sizes, len(body)]:
        part = body[place : place + size]
        place += size
        if part:
            parts.append(b"%x;ext=1\r\n%s\r\n" % (len(part), part))
    return b"".join(parts) + b"0\r\n\r\n"


def fed(data, cuts, *, closed):
    """Feed data in pieces, then the end of the connection."""
    response, places = Response(), sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    for start, end in itertools.pairwise(places):
        if not response.ended:
            response.feed(data[start:end])
    if closed and not response.ended:
        response.feed(b"")
    return response


@given(
    body=BODIES,
    kind=st.sampled_from(["length", "chunks", "close"]),
    cuts=st.sets(st.integers(0, 600)),
    sizes=st.lists(st.integers(1, 50), max_size=8),
    interim=st.booleans(),
)
def test_a_response_is_the_same_in_any_pieces(body, kind, cuts, sizes, interim):
    """A response is read the same in any pieces, with a length, in chunks or up to the end of the connection.

    Interim answers are passed over.
    """
    head = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" if interim else b""
    head += b"HTTP/1.1 207 Fine\r\nX: y\r\n"
    data = {
        "length": head + b"content-length: %d\r\n\r\n%s" % (len(body), body),
        "chunks": head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body, sizes),
        "close": head + b"\r\n" + body,
    }[kind]
    response = fed(data, cuts, closed=kind == "close")
    assert (response.status, response.body, response.ended) == (207, body, True)


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\n",
        b"",
        b"x" * (HEAD_LIMIT + 1),
    ],
)
def test_what_is_no_answer_fails(data):
    """A wrong or incomplete answer is an error of the reader and a failed check of the exchange."""
    with pytest.raises(BadAnswerError):
        fed(data, (), closed=True)
    talk = HttpCheck(body="ok").exchange(A)
    found = talk.receive(data) if data else None
    if found is None:
        found = talk.receive(b"")
    assert not found.passed
    assert not found.answered


def test_a_long_body_is_cut():
    """A check reads only the configured number of bytes of a body."""
    response = fed(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (BODY_LIMIT + 5), (), closed=False)
    assert response.ended
    assert len(response.body) == BODY_LIMIT


@pytest.mark.parametrize("status", [204, 304])
def test_some_answers_have_no_body(status):
    """Answers without a body are complete after their headers."""
    assert fed(b"HTTP/1.1 %d X\r\n\r\n" % status, (), closed=False).ended


@pytest.mark.parametrize(
    ("options", "answer", "passed"),
    [
        ({}, b"HTTP/1.1 200 OK\r\n\r\n", True),
        ({}, b"HTTP/1.1 299 OK\r\n\r\n", True),
        ({}, b"HTTP/1.1 300 No\r\n\r\n", False),
        ({}, b"HTTP/1.1 503 No\r\n\r\n", False),
        ({"statuses": {503}}, b"HTTP/1.1 503 No\r\n\r\n", True),
        ({"body": "well"}, b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nis well", True),
        ({"body": b"ill"}, b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nis well", False),
    ],
)
def test_status_and_body_are_expected(options, answer, passed):
    """A check ends as soon as enough of the status and the body is there to decide."""
    found = HttpCheck(**options).exchange(A).receive(answer)
    assert found.passed is passed
    assert found.answered


def json_answer(body, status=200):
    """Return an answer with a body of JSON."""
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


@pytest.mark.parametrize(
    ("answer", "passed", "failing"),
    [
        (json_answer(b'{"dependencies": {}}'), True, ()),
        (json_answer(b'{"dependencies": {"db": true, "mq": "UP", "s3": {"status": "pass"}}}'), True, ()),
        (json_answer(b'{"dependencies": {"db": true}}', 500), False, ()),
        (
            json_answer(b'{"dependencies": {"db": 0, "mq": "down", "a": null, "c": "ok"}}', 503),
            False,
            ("a", "db", "mq"),
        ),
        (json_answer(b'{"dependencies": {"db": {"status": {"status": "warn"}}}}'), False, ("db",)),
        (json_answer(b'{"dependencies": ["db"]}'), False, ()),
        (json_answer(b'{"checks": {}}'), False, ()),
        (json_answer(b"[1, 2]"), False, ()),
        (json_answer(b"[" * 50_000), False, ()),
        (json_answer(b"not json"), False, ()),
        (json_answer(b"\xff\xfe"), False, ()),
    ],
)
def test_dependencies_are_read(answer, passed, failing):
    """Dependencies are read from booleans, words and objects with a status.

    Anything else is a failure of the endpoint's own.
    """
    found = DeepCheck().exchange(A).receive(answer)
    assert (found.passed, found.failing) == (passed, failing)


@pytest.mark.parametrize(
    ("target", "peer"),
    [
        ("10.0.0.1:8080", ("10.0.0.1", 8080)),
        ("http://a.example", ("a.example", 80)),
        ("http://user@a.example:81/base", ("a.example", 81)),
        ("[::1]:9000", ("::1", 9000)),
    ],
)
def test_addresses_are_read(target, peer):
    """An address is read from host and port, or from a URL."""
    for check in (TcpCheck(), HttpCheck(), DeepCheck()):
        found = check.peer(Endpoint("a", target))
        assert (found.host, found.port, found.tls) == (*peer, None)


def test_https_is_spoken_in_tls():
    """HTTPS checks verify TLS with the system's authorities, or with the context that was given."""
    import ssl

    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    assert HttpCheck().peer(Endpoint("a", "https://a.example"))[:2] == ("a.example", 443)
    assert HttpCheck(tls=ours).peer(Endpoint("a", "https://a.example")).tls is ours
    assert HttpCheck().peer(Endpoint("a", "https://a.example")).tls.verify_mode is ssl.CERT_REQUIRED


def test_a_request_is_well_formed():
    """The host of a request is that of the address, or as given, and headers are sent as given."""
    check = HttpCheck(path="/h?x=1", headers={"X-Check": "yes"}, host="shop.example")
    assert check.exchange(A).request == (
        b"GET /h?x=1 HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\nAccept: */*\r\nX-Check: yes\r\n\r\n"
    )
    assert b"\r\nHost: 10.0.0.1:8080\r\n" in HttpCheck().exchange(A).request


@pytest.mark.parametrize(
    "host", ["a b", "h/x", "h?x", "u:p@h", "[::1", "h:99999", "h:x", "a..b", "//h", "-" * 70]
)
@pytest.mark.parametrize("kind", [HttpCheck, DeepCheck])
def test_a_host_that_no_server_has_is_refused(kind, host):
    """What is no host, with or without a port, is refused when the check is made, and not sent as it is given."""
    with pytest.raises(ConfigurationError, match=r"^host="):
        kind("/", host=host)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("b\u00fccher.example", "xn--bcher-kva.example"),
        ("Shop.Example.:80", "shop.example:80"),
        ("[::1]:80", "[::1]:80"),
    ],
)
def test_a_host_is_sent_in_its_one_spelling(given, sent):
    """The host of a check is sent in A-labels, in lower case and without the dot of the root, as that of an address is."""
    assert f"\r\nHost: {sent}\r\n".encode() in HttpCheck("/", host=given).exchange(A).request


@pytest.mark.parametrize("kind", [HttpCheck, DeepCheck])
def test_the_path_may_be_the_first_argument(kind):
    """A check made with the path by position equals the one made with it by name; nothing else is positional."""
    assert kind("/healthz") == kind(path="/healthz")
    assert kind("/healthz").replace(statuses={204}).path == "/healthz"
    with pytest.raises(TypeError):
        kind("/healthz", {200})


@pytest.mark.parametrize("target", ["a.example", 5, None, "http://", "x:port", "x:99999"])
def test_a_target_that_is_no_address_is_refused(target):
    """A target that is not an address is refused, unless ``address`` says what to do with it."""
    for check in (TcpCheck(), HttpCheck()):
        with pytest.raises(ConfigurationError):
            check.peer(Endpoint("a", target))
    known = TcpCheck(address=lambda endpoint: f"{endpoint.id}.example:80")
    assert known.peer(Endpoint("a", target))[:2] == ("a.example", 80)


@pytest.mark.parametrize("check", [HttpCheck, DeepCheck])
def test_a_check_shows_no_value_of_a_header(check):
    """Neither the repr of a check nor an error shows the value of a header."""
    assert repr(check("/h", headers={"Authorization": "Bearer hush"})).count("***") == 1
    assert "hush" not in repr(check("/h", headers={"Authorization": "Bearer hush"}))
    for headers in ({"Authorization": "hush\r\n"}, {"Authorization": b"hush"}, [("Authorization", "hush")]):
        with pytest.raises(ConfigurationError) as caught:
            check("/h", headers=headers)
        assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "headers",
    [
        {"X y": "z"},
        {"X": "a\r\nB: c"},
        {"": "x"},
        {"X": "\0"},
        {"X:": "y"},
        {"Host": "twice"},
        {"Transfer-Encoding": "chunked"},
    ],
)
def test_a_header_that_http_does_not_allow_is_refused(headers):
    """Names and values are checked when the check is made, by the rules of HTTP."""
    for kind in (HttpCheck, DeepCheck):
        with pytest.raises(ConfigurationError, match="headers="):
            kind(headers=headers)


@pytest.mark.parametrize("length", [b"9" * 5000, b"1" * 25, b"+5", b"5, 6", b"5\r\nContent-Length: 6"])
def test_a_length_that_is_none_fails_the_check(length):
    """A length of 5,000 digits and the like are no answer, and no foreign error."""
    with pytest.raises(BadAnswerError):
        fed(b"HTTP/1.1 200 OK\r\nContent-Length: " + length + b"\r\n\r\nabcde", (), closed=True)


def test_a_chunk_of_any_size_is_cut_at_the_limit():
    """Of a chunk that never ends, no more is kept than the limit of a body."""
    response = Response()
    response.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n")
    for _ in range(64):
        response.feed(b"x" * 4096)
    assert response.ended
    assert len(response.body) == BODY_LIMIT


def test_a_body_in_any_number_of_chunks_is_cut():
    """Of a body in chunks of a byte, a few thousand are read, as each costs a loop some microseconds."""
    response = Response()
    response.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    response.feed(b"1\r\nx\r\n" * (MAX_PIECES - 2))
    assert not response.ended
    response.feed(b"1\r\nx\r\n" * 10)
    assert response.ended
    assert response.body == b"x" * MAX_PIECES


def test_interim_answers_without_end_are_no_answer():
    """An answer that never begins is given up after a few thousand interim ones."""
    response = Response()
    with pytest.raises(BadAnswerError, match="interim"):
        response.feed(b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_PIECES + 1))
    late = Response()
    late.feed(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100 + b"HTTP/1.1 200 OK\r\n\r\n")
    assert late.status == 200


@pytest.mark.parametrize(
    "target", ["http://[x", "[::1", "bücher.test\udcff:80", "a" * 64 + ":80", "\uff48:80", "10.0.0.256:80"]
)
def test_an_address_that_cannot_be_read_is_refused_by_name(target):
    """The error names the address, whatever is wrong with it."""
    for check in (TcpCheck(address=lambda _: target), HttpCheck(address=lambda _: target)):
        with pytest.raises(ConfigurationError, match="address="):
            check.peer(A)


def test_a_host_outside_ascii_is_asked_for_in_a_labels():
    """Both the connection and ``Host`` use the name that resolvers know."""
    endpoint = Endpoint("a", "bücher.test:8080")
    assert HttpCheck().peer(endpoint).host == "xn--bcher-kva.test"
    assert b"\r\nHost: xn--bcher-kva.test:8080\r\n" in HttpCheck().exchange(endpoint).request


def test_the_zone_of_an_address_is_connected_to_and_not_named():
    """The zone of an address says which interface leads there; ``Host`` has none (RFC 6874, 4)."""
    endpoint = Endpoint("a", "[FE80::1%enP1s0]:8080")
    assert HttpCheck().peer(endpoint).host == "fe80::1%enP1s0"
    assert b"\r\nHost: [fe80::1]:8080\r\n" in HttpCheck().exchange(endpoint).request
    assert HttpCheck().peer(endpoint).server_name == "fe80::1"


@pytest.mark.parametrize("body", ["\ud800", 1, ["well"]], ids=["a lone surrogate", "a number", "a list"])
def test_a_body_that_no_answer_has_is_refused_at_construction(body):
    """A body that UTF-8 cannot encode, or that is no text, is refused by name, before it fails the check of every endpoint."""
    with pytest.raises(ConfigurationError, match="body="):
        HttpCheck(body=body)
    assert HttpCheck(body="").exchange(A).receive(b"HTTP/1.1 200 OK\r\n\r\n").passed


def test_the_extra_is_named_where_it_is_missing(monkeypatch):
    """Without ``h11``, a check over HTTP says which extra to install; a check of TCP works."""
    monkeypatch.setitem(sys.modules, "h11", None)
    with pytest.raises(ConfigurationError, match=r"balancekit\[checks\]"):
        HttpCheck("/healthz")
    assert TcpCheck().exchange(A).receive(b"").passed
