"""Strings, functions and objects as sources; schemes of other packages."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import traceback

import pytest

from balancekit import ConfigurationError
from balancekit._support.headers import without_secrets
from balancekit.checks import DeepCheck, HttpCheck
from balancekit.discovery import (
    FunctionResolver,
    HttpSdResolver,
    Refresh,
    Source,
    SrvResolver,
    StaticResolver,
    source,
)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("static:10.0.0.1:80,[::1]:80", "StaticResolver"),
        ("dns:orders.svc:8080?interval=30", "SystemResolver"),
        ("dns:[::1]:8080", "SystemResolver"),
        ("dns_ttl:orders.svc:8080?nameserver=127.0.0.1:5353", "DnsResolver"),
        ("dns_ttl:orders.svc:8080?nameserver=127.0.0.1:8600&tcp=true", "DnsResolver"),
        ("srv:_http._tcp.orders.example?tcp=false", "SrvResolver"),
        ("srv:_http._tcp.orders.example", "SrvResolver"),
        ("file:orders.json", "FileSdResolver"),
        ("file:/etc/orders.json", "FileSdResolver"),
        ("http_sd:http://sd/orders?dc=1#interval=10", "HttpSdResolver"),
    ],
)
def test_a_string_names_a_resolver(text, kind):
    """The scheme of a string names its resolver."""
    found = source(text)
    assert (found.name, type(found.resolver).__name__) == (text.partition(":")[0], kind)


def test_options_of_a_string_say_how_to_follow():
    """Options of a string override what the resolver suggests, and an argument overrides both."""
    assert source("file:a.json").refresh.interval == 1.0
    assert source("file:a.json?interval=5&on_empty=apply&shrink=1").refresh == Refresh(
        interval=5.0, max_retry=1.0, on_empty="apply", shrink=1.0
    )
    assert source("http_sd:http://a/b?interval=7").refresh.interval == 30.0
    assert source("http_sd:http://a/b#interval=7").refresh.interval == 7.0
    assert source("file:a.json?interval=5", refresh=Refresh()).refresh == Refresh()
    assert source("dns:a:80", name="orders").name == "orders"
    again = source("dns:a:80")
    assert source(again) == again


def test_a_service_is_told_the_interval_of_the_string():
    """The refresh header of a request has the interval of the string."""
    found = source("http_sd:http://a/b#interval=7").resolver
    assert found._request.get_header("X-prometheus-refresh-interval-seconds") == "7"


@pytest.mark.parametrize(
    "wrong",
    [
        "orders",
        "dns:",
        ":a",
        "zookeeper:a",
        "dns:orders",
        "dns:orders:http",
        "dns:orders:80?color=red",
        "dns:orders:80?interval=soon",
        "dns:orders:80?interval=0",
        "dns:orders:80?interval",
        "dns:orders:80?interval=5&interval=60",
        "kubernetes:orders:0",
        "static:a:80,,b:80",
        "srv:a?port=80",
        "http_sd:orders",
        "file:a.json?on_empty=perhaps",
        7,
        None,
        StaticResolver,
        ["a:80"],
    ],
)
def test_what_is_no_source_is_refused(wrong):
    """What is not a source is refused when it is made, not when it is asked."""
    with pytest.raises(ConfigurationError):
        source(wrong)


def test_functions_and_objects_are_sources():
    """A function answers with whatever a balancer takes."""

    def orders():
        return {"a": object()}

    async def later():
        return ["a"]

    class Mine:
        def resolve(self):
            return ["a"]

    assert source(orders).name == "orders"
    assert isinstance(source(orders).resolver, FunctionResolver)
    assert source(later).name == "later"
    assert source(Mine()).name == "Mine"
    assert isinstance(source(Source(name="x", resolver=Mine(), refresh=Refresh())), Source)
    with pytest.raises(ConfigurationError, match="refresh"):
        source(orders, refresh=30)


def test_the_built_in_resolvers_suggest_how_to_be_followed():
    """Built-in resolvers suggest settings.

    A name server has to answer within its timeout, and a service is asked at its interval.
    """
    assert source(SrvResolver("a", timeout=3.0, nameservers=["127.0.0.1"])).refresh.timeout == 3.0
    assert source(HttpSdResolver("http://a", interval=9.0)).refresh.interval == 9.0


def test_other_packages_add_schemes(tmp_path):
    """Other packages add schemes by an entry point, and cannot replace a built-in one."""
    (tmp_path / "fleet.py").write_text(
        textwrap.dedent("""
        class Fleet:
            def __init__(self, address, region="eu"):
                self.said = [f"{address}-{region}"]
            def resolve(self):
                return self.said
        """)
    )
    info = tmp_path / "fleet-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fleet\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[balancekit.resolvers]\nfleet = fleet:Fleet\ndns = fleet:Fleet\n")
    code = """
        from balancekit.discovery import source
        found = source("fleet:orders?region=us&interval=7")
        print(found.resolver.resolve(), found.refresh.interval)
        print(type(source("dns:a:80").resolver).__name__)
        try:
            source("flee:orders")
        except ValueError as error:
            print("fleet" in str(error))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={"PYTHONPATH": f"{tmp_path}"},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.stdout.splitlines() == ["['orders-us'] 7.0", "SystemResolver", "True"], done.stderr


@pytest.mark.parametrize(
    "url", ["http://[bad", "http://sd:99999/", "http://sd:0/", "http://", "ftp://sd/", "sd"]
)
def test_what_is_no_web_address_is_refused(url):
    """A URL without scheme, host or a port that can be raises ConfigurationError when the resolver is made."""
    with pytest.raises(ConfigurationError, match="url"):
        HttpSdResolver(url)


KEY = f"Bearer s3{'cret'}\n"
"""In two parts, for tracebacks show lines of this file."""


@pytest.mark.parametrize(
    "make",
    [
        lambda headers: HttpSdResolver("http://127.0.0.1:9/", headers=headers),
        lambda headers: HttpCheck("/", headers=headers),
        lambda headers: DeepCheck(headers=headers),
    ],
    ids=["http_sd", "check", "deep"],
)
def test_a_key_that_cannot_be_sent_is_shown_by_no_error(make):
    """A key with the line end of its file is refused when it is given; neither the error nor its causes show it."""
    with pytest.raises(ConfigurationError, match="headers") as caught:
        make({"Authorization": KEY})
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


SECRET = f"s3{'cret'}"


@pytest.mark.parametrize(
    "text",
    [
        f"http_sd:http://user:{SECRET}@sd/orders",
        f"http_sd:http://user:{SECRET}@sd/orders#interval",
        f"http_sd:http://sd/orders?token={SECRET}#interval",
        f"http_sd:http://sd:0/orders?token={SECRET}",
        f"zookeeper:http://user:{SECRET}@zk/orders",
        f"dns://user:{SECRET}@orders:80",
        f"kubernetes://user:{SECRET}@orders",
    ],
)
def test_a_secret_in_a_source_is_shown_by_no_error(text):
    """Neither the error about a string nor its causes show a password or a query of the URL in it."""
    with pytest.raises(ConfigurationError) as caught:
        source(text)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert SECRET not in without_secrets(text)


def test_an_error_about_a_source_says_which_one_without_its_secrets():
    """An error about a source names the schemes, the host and the wrong options without secrets."""
    assert without_secrets("http_sd:http://user:key@sd/orders") == "http_sd:http://***@sd/orders"
    assert without_secrets("http_sd:http://sd/orders?token=key") == "http_sd:http://sd/orders?***"
    with pytest.raises(ConfigurationError, match="http_sd options='interval'"):
        source("http_sd:http://user:key@sd/orders#interval")


def test_a_tls_context_that_is_none_is_refused():
    """A resolver by HTTP refuses anything but an ``ssl.SSLContext`` as ``tls`` when it is made."""
    with pytest.raises(ConfigurationError, match="tls"):
        HttpSdResolver("https://sd", tls=True)
