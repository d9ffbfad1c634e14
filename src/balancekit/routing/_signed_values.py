"""Signed values that bind a client to an endpoint.

A value (usually a cookie) names the endpoint and is signed with HMAC-SHA256 over the pool's name and the endpoint's id. So it
cannot be changed, forged, or used for another pool. Secrets rotate: the first signs, all are accepted.

.. code-block:: text

    base64url(id) "." base64url(HMAC-SHA256(secret, "balancekit-sticky" 0 pool 0 id))

Source: Caddy's signed cookie.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from hashlib import sha256
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.calls import checked_call
from balancekit._support.text import plain
from balancekit.errors import ConfigurationError, StickyValueError

__all__ = ["StickyValues"]

MIN_SECRET_BYTES: Final = 16
MAX_VALUE_LENGTH: Final = 4096
MAX_ID_BYTES: Final = 3039
"""Of an id whose value, in base64 with a signature of 43 characters and a dot, is no longer than that."""


@final
class StickyValues:
    """Makes and reads the values that bind a client to an endpoint.

    Parameters
    ----------
    pool
        The pool's name, a non-empty string; values of other pools are refused.
    secrets
        At least one of 16 bytes or more. The first signs; the others are still accepted.

    Raises
    ------
    ConfigurationError
        If ``pool`` is empty or contains NUL, ``secrets`` is empty, or a secret is no ``bytes`` or shorter
        than 16.

    Example
    -------
    >>> from balancekit.routing import StickyValues
    >>> values = StickyValues("orders", [b"sixteen secrets!"])
    >>> values.read(values.issue("10.0.0.1:8080"))
    '10.0.0.1:8080'
    """

    __slots__ = ("_prefix", "_secrets")

    @checked_call
    def __init__(self, pool: str, secrets: Sequence[bytes]) -> None:
        if not isinstance(secrets, list | tuple) or not secrets:
            raise ConfigurationError("secrets", type(secrets).__name__, "a list of secrets, at least one")
        for secret in secrets:
            if not isinstance(secret, bytes) or len(secret) < MIN_SECRET_BYTES:
                raise ConfigurationError("secrets", "a secret", f"bytes, at least {MIN_SECRET_BYTES} of them")
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
        if not isinstance(value, str) or len(value := plain(value)) > MAX_VALUE_LENGTH or not value.isascii():
            raise StickyValueError("not a sticky value")
        name_text, dot, signature_text = value.partition(".")
        name, signature = _bytes(name_text), _bytes(signature_text)
        if not dot or name is None or signature is None:
            raise StickyValueError("not a sticky value")
        genuine = False
        for secret in self._secrets:  # all of them, so that timing does not reveal which one signed
            genuine |= hmac.compare_digest(self._sign(secret, name), signature)
        if not genuine:
            raise StickyValueError("a sticky value that this pool did not issue")
        return name.decode()

    def __repr__(self) -> str:
        return f"<StickyValues with {len(self._secrets)} secrets>"

    def _sign(self, secret: bytes, name: bytes) -> bytes:
        return hmac.digest(secret, self._prefix + name, sha256)


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes | None:
    """Return what a text encodes, ``None`` unless it is the one text that encodes it."""
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return None
    return data if _text(data) == text else None
