"""Target lists from files and web services: the format, and that half a list is none."""

from __future__ import annotations

import contextlib
import gc
import http.server
import json
import os
import socket
import threading
import time
import urllib.request
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from balancekit import ConfigurationError, LoadBalancer
from balancekit.discovery import FileSdResolver, HttpSdResolver, InvalidTargetsError, parse_targets, source
from balancekit.discovery._http import _noted, _Opened, _Redirects

LIST = json.dumps(
    [
        {"targets": ["10.0.0.1:80", "10.0.0.2:80"], "labels": {"__zone__": "eu-1", "team": "orders"}},
        {
            "targets": ["10.0.0.3:443"],
            "labels": {"__scheme__": "https", "__weight__": "2.5", "__priority__": "1"},
        },
        {"targets": ["10.0.0.1:80"]},
    ]
).encode()


def test_groups_become_endpoints():
    """Groups become endpoints: reserved labels set its fields, and the others are metadata."""
    a, b, c = parse_targets(LIST).endpoints
    assert (a.id, a.target, a.zone, dict(a.metadata)) == (
        "10.0.0.1:80",
        "10.0.0.1:80",
        "eu-1",
        {"team": "orders"},
    )
    assert (b.weight, b.priority) == (1.0, 0)
    assert (c.id, c.target, c.weight, c.priority) == ("https://10.0.0.3:443",) * 2 + (2.5, 1)
    assert parse_targets("[]").endpoints == ()


def test_every_beginning_of_a_list_is_an_error_and_not_a_shorter_list():
    """A list that is cut at any byte is an error."""
    for length in range(len(LIST)):
        with pytest.raises(InvalidTargetsError):
            parse_targets(LIST[:length])


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "null",
        '["10.0.0.1:80"]',
        '[{"targets": "10.0.0.1:80"}]',
        '[{"labels": {}}]',
        '[{"targets": [7]}]',
        '[{"targets": [""]}]',
        '[{"targets": ["a:80"], "labels": {"team": 7}}]',
        '[{"targets": ["a:80"], "labels": ["team"]}]',
        '[{"targets": ["a:80"], "labels": {"__weight__": "heavy"}}]',
        '[{"targets": ["a:80"], "labels": {"__weight__": "nan"}}]',
        '[{"targets": ["a:80"], "labels": {"__weight__": "-1"}}]',
        '[{"targets": ["a:80"], "labels": {"__priority__": "1.5"}}]',
        '[{"targets": ["a:80"]}, 7]',
        '[{"targets": ["a:80"], "label": {"__weight__": "3"}}]',
        '[{"targets": ["a:80"], "labels": {}, "source": "x"}]',
        '[{"targets": ["a:80"], "labels": []}]',
        '[{"targets": ["a:80"], "labels": ""}]',
        '[{"targets": ["a:80"], "labels": false}]',
        '[{"targets": ["a:80"], "labels": {"__weight__": ""}}]',
        '[{"targets": ["a:80"], "labels": {"__weight__": "1_0"}}]',
        '[{"targets": ["a:80"], "labels": {"__priority__": "\u0663"}}]',
        '[{"targets": [" a:80"]}]',
        '[{"targets": ["a:80\\n"]}]',
        '[{"targets": ["a:80,\u00a0b:80"]}]',
        '[{"targets": ["https://a:443"], "labels": {"__scheme__": "https"}}]',
        "\ud800",
        "[" * 100_000,
    ],
)
def test_one_wrong_entry_makes_the_list_an_error(text):
    """A list with one wrong entry is refused whole."""
    with pytest.raises(InvalidTargetsError):
        parse_targets(text)


@pytest.mark.parametrize(
    ("group", "said"),
    [
        ('{"targets": ["a:80"], "label": {}}', "unknown field 'label'; a group has targets and labels"),
        (
            '{"targets": ["a:80"], "labels": {"__weight__": "heavy"}}',
            "target 'a:80': __weight__='heavy' is not allowed: expected a number >= 0",
        ),
        (
            '{"targets": ["a:80"], "labels": {"__priority__": "1.5"}}',
            "target 'a:80': __priority__='1.5' is not allowed: expected a whole number >= 0",
        ),
    ],
)
def test_an_error_names_the_field_and_what_is_allowed(group, said):
    """An error about a list says which field or label is wrong, and what is expected."""
    with pytest.raises(InvalidTargetsError) as caught:
        parse_targets(f"[{group}]")
    assert str(caught.value) == said


def test_no_labels_may_be_null():
    """A group without labels may say so."""
    assert len(parse_targets('[{"targets": ["a:80"], "labels": null}]').endpoints) == 1


def test_an_error_about_a_directory_names_it(tmp_path):
    """A directory in place of the file is an error that names the path."""
    with pytest.raises(IsADirectoryError) as caught:
        FileSdResolver(tmp_path).resolve()
    assert caught.value.filename == str(tmp_path)


def test_a_file_is_parsed_again_only_if_its_bytes_have_changed(tmp_path):
    """A file is parsed again only if its bytes have changed; it is, even if its size and time stay the same."""
    path = tmp_path / "targets.json"
    path.write_text('[{"targets": ["a:80"]}]')
    resolver = FileSdResolver(path)
    first = resolver.resolve()
    assert resolver.resolve() is first
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_text('[{"targets": ["b:80"]}]')
    os.utime(path, ns=times)
    assert resolver.resolve().endpoints[0].id == "b:80"


def groups(*numbers, **labels):
    """Return a list with targets of these numbers and these labels."""
    return json.dumps([{"targets": [f"10.0.0.{number}:80" for number in numbers], "labels": labels}])


@pytest.mark.parametrize(
    ("labels", "other"),
    [
        ({}, {"__weight__": "2"}),
        ({"__priority__": "1"}, {"__priority__": "2"}),
        ({"__zone__": "a"}, {"__zone__": "b"}),
        ({"team": "x"}, {"team": "y"}),
        ({"team": "x"}, {}),
    ],
)
def test_a_target_that_has_not_changed_is_the_same_object(labels, other):
    """Whatever its place in the list, an endpoint of the answer before is used again if it is equal, and only then."""
    before = parse_targets(groups(1, 2, 3, **labels))
    same = parse_targets(groups(4, 3, 1, **labels), before=before)
    assert same == parse_targets(groups(4, 3, 1, **labels))
    assert [endpoint in before.endpoints for endpoint in same.endpoints] == [True, True, False]
    assert same.endpoints[0] is before.endpoints[0]
    assert same.endpoints[1] is before.endpoints[2]
    changed = parse_targets(groups(1, 2, 3, **other), before=before)
    assert changed == parse_targets(groups(1, 2, 3, **other))
    assert all(new is not old for new, old in zip(changed.endpoints, before.endpoints, strict=True))


def test_a_file_keeps_the_endpoints_that_have_not_changed(tmp_path):
    """A file that has changed gives the same endpoints but for those that are new."""
    path = tmp_path / "targets.json"
    path.write_text(groups(1, 2))
    resolver = FileSdResolver(path)
    before = resolver.resolve().endpoints
    path.write_text(groups(2, 3))
    after = resolver.resolve().endpoints
    assert after[0] is before[1]
    assert after[1].id == "10.0.0.3:80"


def test_a_service_keeps_the_endpoints_that_have_not_changed(service):
    """Each answer of a service gives the same endpoints but for those that are new."""
    handler, url = service
    resolver = HttpSdResolver(url)
    before = resolver.resolve().endpoints
    handler.body = LIST.replace(b"10.0.0.2:80", b"10.0.0.9:80")
    after = resolver.resolve().endpoints
    assert [endpoint in before for endpoint in after] == [True, False, True]
    assert after[0] is before[0]
    assert after[2] is before[2]


def test_a_list_that_changes_by_one_leaves_nothing_for_a_full_collection(tmp_path):
    """A pool of 2,000 endpoints is 14 tracked objects for each, and following a change of one makes no new ones."""
    path = tmp_path / "targets.json"
    names = [f"10.0.{number >> 8}.{number & 255}:80" for number in range(2_001)]

    def follow(first):
        path.write_text(json.dumps([{"targets": names[first : first + 2_000]}]))
        balancer.update(resolver.resolve().endpoints)

    balancer, resolver = LoadBalancer([], allow_empty=True), FileSdResolver(path)
    gc.collect()
    before = len(gc.get_objects())
    follow(0)
    gc.collect()
    assert len(gc.get_objects()) - before < 14.5 * 2_000
    seen = set(map(id, balancer.endpoints))
    follow(1)
    assert len({id(endpoint) for endpoint in balancer.endpoints} - seen) == 1


def test_a_file_that_is_missing_or_half_written_is_an_error(tmp_path):
    """A missing or half-written file is an error that names the file."""
    path = tmp_path / "targets.json"
    resolver = FileSdResolver(path)
    with pytest.raises(FileNotFoundError):
        resolver.resolve()
    path.write_bytes(LIST[:50])
    with pytest.raises(InvalidTargetsError) as caught:
        resolver.resolve()
    assert str(caught.value).startswith(f"{path}: invalid or truncated JSON")
    path.write_bytes(LIST)
    assert len(resolver.resolve().endpoints) == 3


class Service(http.server.BaseHTTPRequestHandler):
    """Answers as it is told."""

    status, kind, body, length = 200, "application/json; charset=utf-8", LIST, None
    location = None

    def do_GET(self):
        """Answer."""
        type(self).seen = self.headers
        self.send_response(self.status)
        self.send_header("Content-Type", self.kind)
        if self.location is not None:
            self.send_header("Location", self.location)
        self.send_header("Content-Length", str(len(self.body) if self.length is None else self.length))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_):
        """Say nothing."""


@contextlib.contextmanager
def served():
    """Run a service; yield its handler class, to be told how to answer, and its URL."""
    handler = type("Told", (Service,), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield handler, f"http://127.0.0.1:{server.server_port}/orders?dc=1"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def service():
    """Run a service for one test."""
    with served() as told:
        yield told


SECRETS = {"Authorization": "Bearer s3cret", "Cookie": "sid=s3cret", "X-Api-Key": "s3cret"}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_origin_gets_no_header_of_the_user(service, status):
    """Another host or port gets the headers of the format only, whichever redirect leads there; its list counts."""
    handler, url = service
    with served() as (other, elsewhere):
        handler.status, handler.location = status, elsewhere.replace("127.0.0.1", "localhost")
        assert len(HttpSdResolver(url, headers=SECRETS, interval=45.0).resolve().endpoints) == 3
        assert handler.seen["Authorization"] == "Bearer s3cret"
        assert other.seen["Accept"] == "application/json"
        assert other.seen["X-Prometheus-Refresh-Interval-Seconds"] == "45"
        assert "s3cret" not in str(other.seen)


def test_headers_that_a_redirect_lost_do_not_come_back(service):
    """A redirect that leads away and back again brings no header of the user to its origin either."""
    handler, url = service
    with served() as (other, elsewhere):
        other.status, other.location = 302, url + "&again"
        seen = []

        def answer(self):
            seen.append(str(self.headers))
            self.status, self.location = (302, elsewhere) if len(seen) == 1 else (200, None)
            Service.do_GET(self)

        handler.do_GET = answer
        assert len(HttpSdResolver(url, headers=SECRETS).resolve().endpoints) == 3
    assert ["s3cret" in headers for headers in seen] == [True, False]
    assert "s3cret" not in str(other.seen)


def test_a_redirect_within_the_origin_keeps_the_headers(service):
    """The same scheme, host and port get the headers of the user again."""
    handler, url = service
    seen = []

    def answer(self):
        seen.append(self.headers["Authorization"])
        self.status, self.location = (302, "/moved") if len(seen) == 1 else (200, None)
        Service.do_GET(self)

    handler.do_GET = answer
    assert len(HttpSdResolver(url, headers=SECRETS).resolve().endpoints) == 3
    assert seen == ["Bearer s3cret"] * 2


@pytest.mark.parametrize(
    "location",
    [
        "ftp://127.0.0.1:1/x",
        "file:///etc/hostname",
        "data:,[]",
        "http://[x",
        "gopher://a",
        "https://",
        "/loop",
        "http://a:x/",
        "http://user:password@127.0.0.1:1/",
        "http://" + "a" * 70 + "/",
        "http://a..b/",
    ],
)
def test_a_redirect_that_leads_nowhere_is_a_documented_error(service, location):
    """Other schemes are not followed; a loop, and a Location that is no URL, are errors of the kinds documented."""
    handler, url = service
    handler.status, handler.location = 302, location
    with pytest.raises((OSError, InvalidTargetsError)):
        HttpSdResolver(url, timeout=2.0).resolve()


def test_a_redirect_from_https_to_http_is_not_followed():
    """A redirect from HTTPS to HTTP is not followed."""
    request = urllib.request.Request("https://sd.example/orders")
    with pytest.raises(InvalidTargetsError, match="https: to 'http'"):
        _Redirects().redirect_request(request, None, 302, "", {}, "http://sd.example/orders")


def test_a_service_is_asked_as_prometheus_asks(service):
    """A request to a service has the refresh interval and the headers of the user."""
    handler, url = service
    resolver = HttpSdResolver(url, headers={"Authorization": "Bearer secret"}, interval=45.0)
    assert len(resolver.resolve().endpoints) == 3
    assert handler.seen["X-Prometheus-Refresh-Interval-Seconds"] == "45"
    assert handler.seen["Accept"] == "application/json"
    assert handler.seen["Authorization"] == "Bearer secret"
    assert "secret" not in repr(resolver)
    assert resolver.refresh.interval == 45.0


@pytest.mark.parametrize(
    "told",
    [
        {"status": 204, "body": b""},
        {"status": 201},
        {"status": 404},
        {"status": 500},
        {"kind": "text/html"},
        {"body": LIST[:100]},
        {"body": b"", "length": 0},
        {"length": len(LIST) + 1},
        {"length": "9" * 5000},
        {"length": -1},
        {"length": f"{len(LIST)}\r\nContent-Length: {len(LIST) - 1}"},
        {"body": b"[" + b" " * (16 * 1024 * 1024) + b"]"},
    ],
)
def test_only_a_complete_200_with_json_counts(service, told):
    """Only a complete 200 with JSON counts.

    An answer that is cut short is an error, even where what came is valid.
    """
    handler, url = service
    for name, value in told.items():
        setattr(handler, name, value)
    with pytest.raises((OSError, InvalidTargetsError)):
        HttpSdResolver(url, timeout=2.0).resolve()


def test_an_answer_that_drips_is_given_up(service):
    """The timeout of an answer is for the whole of it, and not for each byte."""
    handler, url = service

    def drip(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            while not gone.wait(0.02):
                self.wfile.write(b" ")

    gone = threading.Event()
    handler.do_GET = drip
    with pytest.raises(TimeoutError):
        HttpSdResolver(url, timeout=0.2).resolve()
    gone.set()


def test_each_connection_of_a_question_gets_what_is_left_of_its_time():
    """A redirect that comes late does not begin the time anew; after the deadline nothing is connected, or used."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        opened = _Opened(time.monotonic() + 60.0)
        with contextlib.closing(
            _noted(HTTPConnection, opened, "127.0.0.1", port, timeout=999.0)
        ) as connection:
            connection.connect()
            assert 0.0 < connection.sock.gettimeout() <= 60.0
            over = _Opened(time.monotonic() - 1.0)
            with pytest.raises(TimeoutError):
                over.add(connection.sock)
        late = _noted(HTTPConnection, over, "127.0.0.1", port, timeout=999.0)
        with pytest.raises(TimeoutError):
            late.connect()
        assert late.sock is None


def test_all_addresses_of_a_host_have_one_time(monkeypatch):
    """When the first address of a host has used up the time, the others are not connected to."""
    tried = []

    class Deaf(socket.socket):
        def connect(self, address):
            assert self.gettimeout() <= 60.0
            tried.append(address)
            opened.deadline = time.monotonic() - 1.0
            raise TimeoutError

    opened = _Opened(time.monotonic() + 60.0)
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{number}", 80)) for number in range(2, 7)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(socket, "socket", Deaf)
    with contextlib.closing(_noted(HTTPConnection, opened, "sd.example", 80, timeout=999.0)) as connection:
        with pytest.raises(TimeoutError):
            connection.connect()
    assert tried == [("127.0.0.2", 80)]


def test_an_address_that_refuses_is_followed_by_the_next(service, monkeypatch):
    """Of the addresses of a host, the first that accepts is asked."""
    port = urlsplit(service[1]).port
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.0.0.9", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert HttpSdResolver(f"http://sd.example:{port}/").resolve().endpoints


def test_a_family_that_the_kernel_lacks_is_followed_by_the_next(service, monkeypatch):
    """Of the addresses of a host, those for which the system makes no socket are passed over."""
    port = urlsplit(service[1]).port
    v4 = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
    unknown = (999, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [unknown, v4])
    resolver = HttpSdResolver(f"http://sd.example:{port}/")
    assert resolver.resolve().endpoints
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [unknown])
    with pytest.raises(OSError, match="not supported"):
        resolver.resolve()


@pytest.mark.parametrize("url", ["http://user:s3cret@sd.example/", "https://sd.example:443/x y?key=s3cret"])
@pytest.mark.parametrize(
    "make", [HttpSdResolver, HttpSdResolver.parse, lambda url: source(f"http_sd:{url}"), source]
)
def test_a_url_with_a_password_is_refused_and_not_shown(make, url):
    """A password in a URL would be asked of DNS as a part of the host name; no error shows it, or a query."""
    with pytest.raises(ConfigurationError, match=r"\*\*\*") as caught:
        make(url)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://a/\u00fc",
        "http://a/ b",
        "http://a b/",
        "http://a/\r\nX: y",
        "http://a\n/",
        "http://a..b/",
        "http://" + "a" * 70,
    ],
)
def test_a_url_that_cannot_be_sent_is_refused_when_it_is_given(url):
    """A URL that cannot be sent is refused when it is given, not each time the service is asked."""
    with pytest.raises(ConfigurationError, match="url="):
        HttpSdResolver(url)


@pytest.mark.parametrize(
    ("host", "sent"),
    [
        ("b\u00fccher.example", "xn--bcher-kva.example"),
        ("\u043f\u0440\u0438\u043c\u0435\u0440.example", "xn--e1afmkfd.example"),
    ],
    ids=["of Latin-1", "of no single byte"],
)
def test_a_url_of_a_name_in_unicode_is_asked_by_its_a_labels(service, monkeypatch, host, sent):
    """The host of a URL in Unicode is looked up and sent as A-labels."""
    handler, url = service
    asked, look_up = [], socket.getaddrinfo

    def local(name, *rest, **options):
        asked.append(name)
        return look_up("127.0.0.1", *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", local)
    assert len(HttpSdResolver(url.replace("127.0.0.1", host)).resolve().endpoints) == 3
    assert (asked, handler.seen["Host"]) == ([sent], url.split("/")[2].replace("127.0.0.1", sent))


@pytest.mark.parametrize(
    "text", ['[{"targets": [["%s"]]}]', '[{"targets": ["%s"], "labels": {"__weight__": "x"}}]']
)
def test_an_error_about_a_long_target_is_short(text):
    """An error about a target shows at most 200 characters of it."""
    with pytest.raises(InvalidTargetsError) as caught:
        parse_targets(text % ("a" * 100_000))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("make", "parameter"),
    [
        (lambda: FileSdResolver(""), "path"),
        (lambda: FileSdResolver(7), "path"),
        (lambda: FileSdResolver("a\0b"), "path"),
        (lambda: FileSdResolver("a\ud800"), "path"),
        (lambda: HttpSdResolver("ftp://a/b"), "url"),
        (lambda: HttpSdResolver("orders"), "url"),
        (lambda: HttpSdResolver("http://a", timeout=0), "timeout"),
        (lambda: HttpSdResolver("http://a", headers={"a": 7}), "headers"),
        (lambda: HttpSdResolver("http://a", interval=0), "interval"),
        (lambda: HttpSdResolver.parse("http://a", interval="often"), "interval"),
    ],
)
def test_wrong_arguments_are_refused(make, parameter):
    """Each wrong argument is refused by the name of its parameter."""
    with pytest.raises(ConfigurationError, match=parameter):
        make()


DESCRIPTORS = Path("/proc/self/fd")


@pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="counts descriptors as Linux shows them")
@pytest.mark.parametrize("kind", ["directory", "pipe", "too large"])
def test_a_path_that_is_no_file_keeps_no_descriptor(tmp_path, kind):
    """A path that is no file keeps no descriptor open after an attempt."""
    path = tmp_path / "targets.json"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        with path.open("wb") as file:
            file.truncate(17 * 1024 * 1024)
    resolver = FileSdResolver(path)
    counts = []
    for _ in range(3):
        with pytest.raises((OSError, InvalidTargetsError)):
            resolver.resolve()
        gc.collect()
        counts.append(len(list(DESCRIPTORS.iterdir())))
    assert len(set(counts)) == 1
