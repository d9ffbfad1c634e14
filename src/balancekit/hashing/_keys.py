"""Keys and hash functions: one encoding for the three key types, and named functions.

=========  ========================================================================================
``str``    the hash of its UTF-8 bytes; lone surrogates are three bytes each (``surrogatepass``)
``bytes``  the hash of the bytes themselves (so ``"k"`` and ``b"k"`` agree)
``int``    the splitmix64 mixer over the low 64 bits of its two's complement; whatever the function
           is, unless it is keyed: then the hash of these 64 bits as eight little-endian bytes
=========  ========================================================================================

Python's own ``hash`` is never used, because it differs from process to process. The choice never depends on installed
packages: a key has the same position on every machine and in every version of balancekit.

===========  ===========================================================  =====================
name         what it is                                                   empty calls, 15 bytes
===========  ===========================================================  =====================
``murmur3``  MurmurHash3, 32 bits for keys, x64 128 for ids; the default  1.5
``xxhash``   XXH32 for keys, XXH64 for ids; needs the extra ``xxhash``    10
``blake2b``  BLAKE2b, cryptographic                                       50
===========  ===========================================================  =====================

*When not to use any of them without a secret:* for keys that an attacker chooses. An attacker who knows the scheme and
the endpoints can find any number of keys that belong to one endpoint, and aim all traffic at it. A secret prevents
that: :func:`keyed`. A seed does not, because MurmurHash3 has collisions that hold for every seed.

Source: MurmurHash3 (Appleby 2011) by the ``mmh3`` package; splitmix64 (Steele, Lea, Flood 2014); BLAKE2
(RFC 7693); seed-independent collisions: Aumasson, Bernstein, Bosslet (2012).
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable
from typing import Any, Final, Protocol, final

import mmh3

from balancekit._support.extras import install_command
from balancekit._support.splitmix import MASK64, splitmix64
from balancekit._support.text import plain, to_bytes
from balancekit.errors import ConfigurationError

__all__ = ["HashFunction", "hash32", "hash64", "hash_function", "keyed"]

MIN_SECRET_BYTES: Final = 16
"""Bytes: what cannot be guessed."""
MAX_SECRET_BYTES: Final = 64
"""Bytes: what BLAKE2b takes."""


class Narrow(Protocol):
    """From an ASCII str or bytes to 32 bits; called as ``mmh3.hash`` is, so that this can be one without a wrapper.

    Never called with any other str: the C code of ``mmh3`` ends the process at a lone surrogate.

    ``Any``, because type checkers do not read ``key.__class__ is str``, which is how callers narrow the type.
    """

    def __call__(self, key: Any, seed: int, signed: bool, /) -> int:
        """Return the hash for the seed 0, unsigned."""
        ...


@final
class HashFunction:
    """A named way from keys to positions. Get one from :func:`hash_function` or :func:`keyed`.

    Parameters
    ----------
    name
        The name in configurations.
    narrow
        From an ASCII str or bytes to 32 bits, when called with the key, 0 and False.
    wide
        From bytes to 64 bits, unsigned.
    number
        From the low 64 bits of an integer key to 64 bits.
    """

    __slots__ = ("name", "narrow", "number", "wide")

    def __init__(
        self,
        name: str,
        *,
        narrow: Narrow,
        wide: Callable[[bytes], int],
        number: Callable[[int], int] = splitmix64,
    ) -> None:
        self.name: str = name
        self.narrow: Narrow = narrow
        self.wide: Callable[[bytes], int] = wide
        self.number: Callable[[int], int] = number

    def hash32(self, key: str | bytes | int) -> int:
        """Return the 32-bit position of a key, 0 to ``2**32 - 1``.

        Raises
        ------
        ConfigurationError
            If the key is not a str, bytes or int.
        """
        if type(key) is int:
            return self.number(key & MASK64) >> 32
        if isinstance(key, str | bytes):
            return self.narrow(to_bytes(key), 0, False)
        return self.number(_number(key)) >> 32

    def hash64(self, key: str | bytes | int) -> int:
        """Return the 64-bit position of a key, 0 to ``2**64 - 1``.

        Raises
        ------
        ConfigurationError
            If the key is not a str, bytes or int.
        """
        if isinstance(key, str | bytes):
            return self.wide(to_bytes(key))
        return self.number(_number(key))

    def __repr__(self) -> str:
        return f"<hash function {self.name}>"


def _number(key: Any) -> int:
    """Return the low 64 bits of an integer; numpy's integers are integers too."""
    if hasattr(key, "__index__") and not isinstance(key, bool):
        with contextlib.suppress(Exception):  # an array of several numbers is none
            return operator.index(key) & MASK64
    raise ConfigurationError("key", key, "a str, bytes or int")


def _murmur_wide(key: bytes) -> int:
    wide: int = mmh3.hash128(key, 0, x64arch=True, signed=False)
    return wide & MASK64


MURMUR3: Final = HashFunction("murmur3", narrow=mmh3.hash, wide=_murmur_wide)


def hash32(key: str | bytes | int) -> int:
    """Return the 32-bit position of a key by the default function, 0 to ``2**32 - 1``.

    Raises
    ------
    ConfigurationError
        If the key is not a str, bytes or int.

    Example
    -------
    >>> from balancekit.hashing import hash32
    >>> hash32("user:1") == hash32(b"user:1")
    True
    """
    if type(key) is str and key.isascii():
        return mmh3.hash(key, 0, False)
    return MURMUR3.hash32(key)


def hash64(key: str | bytes | int) -> int:
    """Return the 64-bit position of a key by the default function, 0 to ``2**64 - 1``.

    Raises
    ------
    ConfigurationError
        If the key is not a str, bytes or int.

    Example
    -------
    >>> from balancekit.hashing import hash64
    >>> hash64("user:1") == hash64(b"user:1")
    True
    """
    return MURMUR3.hash64(key)


def hash_function(name: str | HashFunction = "murmur3") -> HashFunction:
    """Return a hash function by its name.

    Parameters
    ----------
    name
        ``"murmur3"``, ``"xxhash"`` or ``"blake2b"``. A hash function is returned as it is.

    Raises
    ------
    ConfigurationError
        If there is none of that name, or the extra it needs is not installed.

    Example
    -------
    >>> from balancekit.hashing import hash32, hash_function
    >>> hash_function("murmur3").hash32("user:1") == hash32("user:1")
    True
    """
    if isinstance(name, HashFunction):
        return name
    make = _BY_NAME.get(plain(name)) if isinstance(name, str) else None
    if make is None:
        raise ConfigurationError("hash", name, f"one of {', '.join(_BY_NAME)}, or keyed(secret)")
    return make()


def keyed(secret: bytes) -> HashFunction:
    """Return a hash function that cannot be predicted without the secret: BLAKE2b, keyed.

    *When to use it:* keys come from people who gain by overloading one endpoint. *When not:* keys are your
    own; it costs thirty times the default. All processes that must agree need the same secret.

    *Guarantee.* Without the secret, the owner of a key cannot be distinguished from a random one. An attacker who can
    *observe* the owners of keys can still collect those of one endpoint; that takes a request per key.

    Parameters
    ----------
    secret
        16 to 64 bytes from a good source, for example ``secrets.token_bytes(32)``.

    Raises
    ------
    ConfigurationError
        If the secret is not 16 to 64 bytes. The message does not show it.

    Example
    -------
    >>> from balancekit.hashing import keyed
    >>> mine, theirs = keyed(b"0123456789abcdef"), keyed(b"fedcba9876543210")
    >>> mine.hash32("user:1") == theirs.hash32("user:1")
    False
    """
    if not isinstance(secret, bytes) or not MIN_SECRET_BYTES <= len(secret) <= MAX_SECRET_BYTES:
        raise ConfigurationError("secret", type(secret), f"{MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes")
    return _blake2b("keyed blake2b", secret)


def _blake2b(name: str, secret: bytes) -> HashFunction:
    from hashlib import blake2b  # noqa: PLC0415 - loads OpenSSL, which nothing else here needs

    begun = blake2b(key=secret, digest_size=8)

    def wide(key: bytes) -> int:
        digest = begun.copy()
        digest.update(key)
        return int.from_bytes(digest.digest(), "little")

    def narrow(key: str | bytes, _seed: int, _signed: bool, /) -> int:
        return wide(to_bytes(key)) >> 32

    def number(value: int) -> int:
        return wide(value.to_bytes(8, "little"))

    if not secret:
        return HashFunction(name, narrow=narrow, wide=wide)
    return HashFunction(name, narrow=narrow, wide=wide, number=number)


def _xxhash() -> HashFunction:
    try:
        import xxhash  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        raise ConfigurationError("hash", "xxhash", f"the extra: {install_command('xxhash')}") from None

    def narrow(key: str | bytes, _seed: int, _signed: bool, /) -> int:
        return xxhash.xxh32_intdigest(to_bytes(key))

    def wide(key: bytes) -> int:
        return xxhash.xxh64_intdigest(key)

    return HashFunction("xxhash", narrow=narrow, wide=wide)


_BY_NAME: Final[dict[str, Callable[[], HashFunction]]] = {
    "murmur3": lambda: MURMUR3,
    "xxhash": _xxhash,
    "blake2b": lambda: _blake2b("blake2b", b""),
}
