"""Queries of DNS as bytes, for both DNS adapters: the parts that an answer depends on, and nothing else.

Libraries read every record of a message and refuse the whole for one of them; a server may need none. Records other
than OPT are skipped, whatever they are: signatures of transactions (RFC 8945), data of an UPDATE.

Cost: O(bytes): no compressed name is followed.

Source: RFC 1035 section 4, RFC 6891 section 6; gdnsd 3.8.1 for what is malformed.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from balancekit.gslb import SUBNET_OPTION

__all__ = [
    "BADVERS",
    "FORMERR",
    "NOTIMP",
    "RCODES",
    "SERVFAIL",
    "Edns",
    "Question",
    "WireQuery",
    "read_query",
]

HEADER_SIZE: Final = 12
REPLY_BIT: Final = 0x80
RD_BIT: Final = 1
DO_BIT: Final = 0x8000
POINTER_BITS: Final = 0xC0
MAX_NAME: Final = 255
"""Bytes of a name on the wire (RFC 1035)."""
OPT: Final = 41
SYNTAX: Final = '."$();@\\'
"""Printable characters of a label that mean something in a zone file."""
SPECIAL: Final = re.compile(r'[^!-~]|[."$();@\\]')
RCODES: Final = {"NOERROR": 0, "NXDOMAIN": 3, "NOTIMP": 4, "REFUSED": 5}
"""Codes of the replies of a zone."""
FORMERR: Final = 1
SERVFAIL: Final = 2
NOTIMP: Final = 4
BADVERS: Final = 16


class Question(NamedTuple):
    """The first question of a message."""

    labels: tuple[bytes, ...]
    kind: int
    class_: int

    @property
    def name(self) -> str:
        """The name in presentation form (RFC 1035, 5.1): characters of the syntax and what cannot be printed are escaped."""
        labels = [SPECIAL.sub(_escaped, label.decode("latin-1")) for label in self.labels]
        return ".".join([*labels, ""]) if labels else "."

    @property
    def is_too_long(self) -> bool:
        """Whether the name has more bytes than a name may have; no name that :func:`read_query` has read."""
        return sum(map(len, self.labels)) + len(self.labels) >= MAX_NAME


class Edns(NamedTuple):
    """What an OPT record says."""

    size: int
    version: int
    secured: bool
    """DO, which a reply copies (RFC 3225, 3)."""
    subnet: bytes | None
    """The data of the first client subnet option."""


class WireQuery(NamedTuple):
    """A message that is no reply."""

    id: int
    opcode: int
    recursion: bool
    question: Question | None = None
    edns: Edns | None = None
    malformed: bool = True


def _escaped(found: re.Match[str]) -> str:
    """Return a character of a label as a zone file has it."""
    char = found[0]
    return f"\\{char}" if char in SYNTAX else f"\\{ord(char):03}"


class _MalformedError(ValueError):
    """A message that ends too soon, or a name that is none."""


def read_query(wire: bytes, /) -> WireQuery | None:
    """Return the query in a message; ``None`` for a reply, and for what is shorter than a header: neither gets a reply.

    What comes after the message is ignored, as are the records of its answer and authority sections.
    """
    if len(wire) < HEADER_SIZE or wire[2] & REPLY_BIT:
        return None
    query = WireQuery(int.from_bytes(wire[:2], "big"), wire[2] >> 3 & 15, bool(wire[2] & RD_BIT))
    questions, answers, authorities, additional = [_number(wire, place) for place in range(4, HEADER_SIZE, 2)]
    found: list[Edns] = []
    try:
        at = HEADER_SIZE
        if questions:
            question, at = _question(wire)
            query = query._replace(question=question)
        for _ in range(questions - 1):
            at = _after(wire, at, 4)
        for index in range(answers + authorities + additional):
            owner, at = at, _after(wire, at, 10)
            begin, at = at, _within(wire, at + _number(wire, at - 2))
            is_opt = wire[owner] == 0 and _number(wire, owner + 1) == OPT
            if is_opt and index >= answers + authorities:
                found.append(_edns(wire, owner + 3, begin, at))
    except _MalformedError:
        return query._replace(edns=found[0] if found else None)
    return query._replace(edns=found[0] if found else None, malformed=questions != 1 or len(found) > 1)


def _question(wire: bytes) -> tuple[Question, int]:
    """Read the first question; its name is the first of the message, and has nothing to point to."""
    labels = []
    at = HEADER_SIZE
    while size := wire[_within(wire, at + 1) - 1]:
        if size & POINTER_BITS or at + 1 + size - HEADER_SIZE >= MAX_NAME:
            raise _MalformedError
        labels.append(wire[at + 1 : _within(wire, at + 1 + size)])
        at += 1 + size
    end = _within(wire, at + 5)
    return Question(tuple(labels), _number(wire, at + 1), _number(wire, at + 3)), end


def _after(wire: bytes, at: int, more: int) -> int:
    """Return where a name and so many bytes after it end."""
    while size := wire[_within(wire, at + 1) - 1]:
        if size & POINTER_BITS == POINTER_BITS:
            at += 1
            break
        if size & POINTER_BITS:
            raise _MalformedError
        at += 1 + size
    return _within(wire, at + 1 + more)


def _edns(wire: bytes, head: int, at: int, end: int) -> Edns:
    subnet = None
    while at < end:
        if at + 4 > end:
            raise _MalformedError
        code, begin = _number(wire, at), at + 4
        at = begin + _number(wire, at + 2)
        if at > end:
            raise _MalformedError
        if code == SUBNET_OPTION and subnet is None:
            subnet = wire[begin:at]
    secured = bool(_number(wire, head + 4) & DO_BIT)
    return Edns(_number(wire, head), wire[head + 3], secured, subnet)


def _number(wire: bytes, at: int) -> int:
    return int.from_bytes(wire[at : at + 2], "big")


def _within(wire: bytes, end: int) -> int:
    """Return a place that is not beyond the end of a message."""
    if end > len(wire):
        raise _MalformedError
    return end
