"""Session stickiness: a signed value leads a client back to its endpoint.

The value (usually a cookie) names the endpoint and is signed with HMAC-SHA256 over the pool's name and the
endpoint's id. So it cannot be changed, made up, or taken to another pool. Secrets rotate: the first signs, all
are accepted.

.. code-block:: text

    base64url(id) "." base64url(HMAC-SHA256(secret, "balancekit-sticky" 0 pool 0 id))

A bound request goes to its endpoint also while that drains, so sessions survive a drain. It is re-homed when
the endpoint is gone, ejected or tried, or has more than ``bound`` times its fair part of the requests in
flight.

Source: Caddy's signed cookie; HAProxy's persistence under drain; bounded loads against pinned saturation.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from hashlib import sha256
from ipaddress import ip_address, ip_network
from typing import Final, final

from balancekit._support import validation as valid
from balancekit.errors import ConfigurationError, StickyValueError
from balancekit.protocols import LoadPolicy
from balancekit.routing._grouping import ChildSelectors, Learn, MakeSelector
from balancekit.selectors import ShortestExpectedDelay
from balancekit.snapshot import Node, PickContext, Snapshot

__all__ = ["STICKY", "Sticky", "StickyValues", "source_prefix"]

STICKY: Final = "sticky"
"""The attribute of a request that carries the value its client sent."""

SHORTEST_SECRET: Final = 16
MAX_VALUE_LENGTH: Final = 4096
MAX_ID_BYTES: Final = 3039
"""Of an id whose value, in base64 with a signature of 43 characters and a dot, is no longer than that."""
PART: Final = "all"


@final
class StickyValues:
    """Makes and reads the values that bind a client to an endpoint.

    Parameters
    ----------
    pool
        The pool's name, a non-empty string; values of other pools are refused.
    secrets
        At least one of 16 bytes or more. The first signs; the others are still accepted.

    Example
    -------
    >>> values = StickyValues("orders", [b"sixteen secrets!"])
    >>> values.read(values.issue("10.0.0.1:8080"))
    '10.0.0.1:8080'
    """

    __slots__ = ("_prefix", "_secrets")

    def __init__(self, pool: str, secrets: Sequence[bytes]) -> None:
        if not isinstance(secrets, list | tuple) or not secrets:
            raise ConfigurationError("secrets", type(secrets).__name__, "a list of secrets, at least one")
        for secret in secrets:
            if not isinstance(secret, bytes) or len(secret) < SHORTEST_SECRET:
                raise ConfigurationError("secrets", "a secret", f"bytes, at least {SHORTEST_SECRET} of them")
        self._secrets = tuple(secrets)
        if "\0" in valid.text("pool", pool):  # which ends the name in what is signed
            raise ConfigurationError("pool", pool, "a name without NUL")
        self._prefix = b"balancekit-sticky\0" + pool.encode() + b"\0"

    def issue(self, id: str) -> str:
        """Return the value that binds a client to an endpoint: letters, digits, ``-``, ``_`` and one dot."""
        name = valid.text("id", id).encode()
        if len(name) > MAX_ID_BYTES:
            raise ConfigurationError(
                "id", id, f"at most {MAX_ID_BYTES} bytes of UTF-8, so that the value can be read"
            )
        return f"{_text(name)}.{_text(self._sign(self._secrets[0], name))}"

    def read(self, value: object) -> str:
        """Return the id of the endpoint a value names.

        Raises
        ------
        StickyValueError
            If the value was not issued for this pool with one of the secrets, whatever it is.
        """
        if not isinstance(value, str) or len(value) > MAX_VALUE_LENGTH or not value.isascii():
            raise StickyValueError("not a sticky value")
        name_text, dot, signature_text = value.partition(".")
        name, signature = _bytes(name_text), _bytes(signature_text)
        if not dot or name is None or signature is None:
            raise StickyValueError("not a sticky value")
        genuine = False
        for secret in self._secrets:  # all of them, so that time does not tell which one signed
            genuine |= hmac.compare_digest(self._sign(secret, name), signature)
        if not genuine:
            raise StickyValueError("a sticky value that this pool did not issue")
        return name.decode()

    def __repr__(self) -> str:
        return f"<StickyValues with {len(self._secrets)} secrets>"

    def _sign(self, secret: bytes, name: bytes) -> bytes:
        return hmac.digest(secret, self._prefix + name, sha256)


@final
class Sticky:
    """Send a request that carries a valid value to the endpoint it names, the others to a child.

    Parameters
    ----------
    values
        Reads the values. The request's value is ``attributes={"sticky": value}``.
    child
        Makes the selector for clients that are not bound. ``ShortestExpectedDelay`` if left out.
    bound
        How many times its fair part of the requests in flight an endpoint may have before its clients are
        re-homed, > 1, or infinity. A small allowance is added, so that quiet pools do not re-home.

    *Guarantee.* A forged, changed or foreign value is treated as none. Nothing it contains is used before its
    signature was found right.

    *When to use it:* sessions or caches in the endpoint's memory. *When not:* where a key will do
    (:class:`~balancekit.selectors.RingHash`), which needs no cookie.

    Example
    -------
    >>> from balancekit import LoadBalancer
    >>> values = StickyValues("orders", [b"sixteen secrets!"])
    >>> lb = LoadBalancer(["a", "b", "c"], selector=Sticky(values))
    >>> with lb.acquire() as lease:
    ...     cookie = values.issue(lease.endpoint.id)
    >>> with lb.acquire(attributes={"sticky": cookie}) as again:
    ...     again.target == lease.target
    True
    """

    ALLOWANCE: Final = 4

    def __init__(
        self,
        values: StickyValues,
        *,
        child: MakeSelector = ShortestExpectedDelay,
        bound: float = 1.5,
    ) -> None:
        if not isinstance(values, StickyValues):
            raise ConfigurationError("values", values, "StickyValues(pool, secrets)")
        self._values = values
        self._bound = bound if bound == float("inf") else valid.number("bound", bound, above=1.0)
        self._children = ChildSelectors(child)
        self.default_load: LoadPolicy = self._children.default_load
        if self._children.learns:
            self.learn: Learn = self._children.learn

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return the endpoint the request is bound to, or what the child picks."""
        value = ctx.attributes.get(STICKY)
        if value is not None:
            node = self._home(snapshot, ctx, value)
            if node is not None:
                return node
        return self._children.of(PART).select(snapshot, ctx)

    def prepare(self, snapshot: Snapshot, /) -> None:
        """Build the tables of the child."""
        self._children.prepare({PART: snapshot})

    def _home(self, snapshot: Snapshot, ctx: PickContext, value: object) -> Node | None:
        try:
            id = self._values.read(value)
        except StickyValueError as error:
            _note(ctx, f"{error}: balanced anew")
            return None
        node = snapshot.derive(_by_id).get(id)
        if node is None or id in ctx.exclude:
            _note(ctx, f"its endpoint {id!r} is gone or was tried: re-homed")
            return None
        if self._crowded(snapshot, node):
            _note(ctx, f"its endpoint {id!r} has more than its part: re-homed")
            return None
        _note(ctx, f"bound to {id!r}")
        return node

    def _crowded(self, snapshot: Snapshot, node: Node) -> bool:
        """Return whether a node has more than ``bound`` times its part in flight. O(n) if it is busy at all."""
        if node.inflight < self.ALLOWANCE or self._bound == float("inf"):
            return False
        total = sum(other.inflight for other in snapshot.eligible)
        part = total * node.capacity / max(1, len(snapshot.eligible))
        return node.inflight + 1 > self._bound * part + self.ALLOWANCE


def source_prefix(address: str, *, v4: int = 24, v6: int = 56) -> str:
    """Return the network a client's address is in: a key that stays when the address changes a little.

    Parameters
    ----------
    address
        IPv4 or IPv6. An IPv4 address mapped into IPv6 counts as IPv4.
    v4, v6
        Lengths of the prefixes in bits.

    Example
    -------
    >>> source_prefix("203.0.113.77")
    '203.0.113.0/24'
    """
    valid.integer("v4", v4, minimum=0, maximum=32)
    valid.integer("v6", v6, minimum=0, maximum=128)
    try:
        found = ip_address(valid.text("address", address))
    except ValueError:
        raise ConfigurationError("address", address, "an IPv4 or IPv6 address") from None
    mapped = getattr(found, "ipv4_mapped", None)
    if mapped is not None:
        found = mapped
    return str(ip_network(f"{found}/{v4 if found.version == 4 else v6}", strict=False))


def _by_id(snapshot: Snapshot) -> dict[str, Node]:
    return {node.id: node for node in (*snapshot.eligible, *snapshot.draining)}


def _note(ctx: PickContext, text: str) -> None:
    if ctx.trace is not None:
        ctx.trace.note(text)


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes | None:
    """Return what a text encodes, ``None`` unless it is the one text that encodes it."""
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return None
    return data if _text(data) == text else None
