"""Cookie jars per endpoint, for services whose endpoints set cookies of their own.

Replicas of one service understand each other's cookies, and the client's jar suffices: it files them under the service.
Different vendors do not understand each other's cookies, and must not see them. Then the cookies of an endpoint are removed
from its answer, kept here, and sent to that endpoint only, in addition to the caller's. The standard library decides what
matches (``http.cookiejar``: domains, paths, ``Secure``, expiry), by the authority of the request to the endpoint.

Cost: nothing unless configured; then two URLs parsed and a jar searched, some ten microseconds a request.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from email.message import Message
from http.cookiejar import Cookie, CookieJar
from typing import Any, Final, cast, final
from urllib.parse import urlsplit
from urllib.request import Request
from weakref import WeakKeyDictionary

from balancekit._support.fork import new_lock
from balancekit._support.interrupts import raise_interrupt
from balancekit._support.log import log_change
from balancekit.adapters._target import Address
from balancekit.errors import brief_error

__all__ = ["Jars"]

MAX_COOKIE_HOSTS: Final = 1_000
"""Hosts under which an endpoint's cookies are kept; the hosts are those of callers if an adapter has no service."""
MAX_COOKIES: Final = 50
"""Paths of a host, and cookies of a path: what browsers keep for a domain at least (RFC 6265, 6.1)."""


@final
class Jars:
    """A jar for each endpoint; it is gone when the endpoint is. Any thread may call."""

    __slots__ = ("_jars", "_lock")

    def __init__(self) -> None:
        self._lock = new_lock()
        self._jars: WeakKeyDictionary[Address, CookieJar] = WeakKeyDictionary()

    def carry(self, address: Address, url: str, headers: MutableMapping[str, Any]) -> None:
        """Add an endpoint's cookies to a request; one that the caller sends by the same name gives way.

        Parameters
        ----------
        address
            Whose cookies.
        url
            Where the request goes.
        headers
            Those of the request, with ``Host``; changed.
        """
        with self._lock:
            jar = self._jars.get(address)
        if jar is None:
            return
        try:
            request = _seen_request(url, headers)
            jar.add_cookie_header(request)
        except Exception as error:
            raise_interrupt()
            log_change(
                "cookies for %s cannot be read and are not sent: %s",
                address.netloc,
                brief_error(error),
                bad=True,
            )
            return
        pairs = (request.get_header("Cookie") or "").split(";")
        own = "; ".join([pair.strip() for pair in pairs if pair.isascii()])  # clients send no others
        if not own:
            return
        names = {_name(pair) for pair in own.split(";")}
        given = _text(headers.get("Cookie") or "")
        kept = [pair.strip() for pair in given.split(";") if pair.strip() and _name(pair) not in names]
        headers["Cookie"] = "; ".join([*kept, own])

    def keep(
        self, address: Address, url: str, headers: MutableMapping[str, Any], lines: Iterable[str]
    ) -> None:
        """Store the cookies that an endpoint sets.

        Parameters
        ----------
        address
            Whose cookies.
        url
            Where the request went.
        headers
            Those of the request, with ``Host``.
        lines
            The ``Set-Cookie`` headers of the answer.
        """
        answer = Message()
        for line in lines:
            answer["Set-Cookie"] = line
        if not answer:
            return
        with self._lock:
            jar = self._jars.setdefault(address, _Jar())
        try:
            jar.extract_cookies(cast("Any", _Answer(answer)), _seen_request(url, headers))
        except Exception as error:
            raise_interrupt()
            log_change("cookies of %s cannot be read: %s", address.netloc, brief_error(error), bad=True)


class _Jar(CookieJar):
    """A jar with limits, whose lock is free in a forked child; the one of the standard library stays as it was."""

    _cookies: dict[str, dict[str, dict[str, Cookie]]]

    def __init__(self) -> None:
        super().__init__()
        self._cookies_lock = new_lock()

    def set_cookie(self, cookie: Cookie) -> None:
        """Keep a cookie; the oldest host, path or name goes where there are too many."""
        super().set_cookie(cookie)
        with self._cookies_lock:
            paths = self._cookies.get(cookie.domain, {})
            _trim(self._cookies, MAX_COOKIE_HOSTS)
            _trim(paths, MAX_COOKIES)
            _trim(paths.get(cookie.path, {}), MAX_COOKIES)


def _trim(known: dict[str, Any], most: int) -> None:
    if len(known) > most:
        known.pop(next(iter(known)))


class _Answer:
    """As much of an answer as a jar looks at."""

    def __init__(self, headers: Message) -> None:
        self._headers = headers

    def info(self) -> Message:
        return self._headers


def _seen_request(url: str, headers: MutableMapping[str, Any]) -> Request:
    """Return a request as the endpoint sees it: its authority is the one in ``Host``."""
    authority = _text(headers.get("Host") or "")
    return Request(urlsplit(url)._replace(netloc=authority).geturl())  # noqa: S310 - it is never opened


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _name(pair: str) -> str:
    return pair.partition("=")[0].strip()
