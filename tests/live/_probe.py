"""A program for a namespace: pings an address every few milliseconds and notes every advert on the wire.

    python _probe.py INTERFACE ADDRESS

Prints one line of JSON when it is ready and one at SIGTERM, with the times of all replies and adverts by the
monotonic clock, which all processes of a machine share, and how late it was itself at worst.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import selectors
import signal
import socket
import struct
import sys
import time

EVERY_S = 0.004
ETH_P_ALL = 3
VRRP = 112
PACKET_ADD_MEMBERSHIP, PACKET_MR_PROMISC, SOL_PACKET = 1, 1, 263


def checksum(data):
    """Return the Internet checksum."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def advert(frame):
    """Return source, payload of a VRRP packet in a frame, else None."""
    kind = frame[12:14]
    if kind == b"\x08\x00" and frame[23] == VRRP:
        start = 14 + (frame[14] & 15) * 4
        return str(ipaddress.ip_address(frame[26:30])), frame[start:]
    if kind == b"\x86\xdd" and frame[20] == VRRP:
        return str(ipaddress.ip_address(frame[22:38])), frame[54:]
    return None


def main(interface, address):
    """Run until SIGTERM."""
    six = ":" in address
    family, protocol = (
        (socket.AF_INET6, socket.IPPROTO_ICMPV6) if six else (socket.AF_INET, socket.IPPROTO_ICMP)
    )
    ping = socket.socket(family, socket.SOCK_RAW, protocol)
    ping.setblocking(False)
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    wire.bind((interface, ETH_P_ALL))
    wire.setsockopt(
        SOL_PACKET,
        PACKET_ADD_MEMBERSHIP,
        struct.pack("@iHH8s", socket.if_nametoindex(interface), PACKET_MR_PROMISC, 0, b""),
    )
    wire.setblocking(False)
    going = True

    def end(*_):
        nonlocal going
        going = False

    signal.signal(signal.SIGTERM, end)
    identity = os.getpid() & 0xFFFF
    replies, adverts, stall = [], [], 0.0
    selector = selectors.DefaultSelector()
    selector.register(ping, selectors.EVENT_READ, "ping")
    selector.register(wire, selectors.EVENT_READ, "wire")
    print(json.dumps({"ready": time.monotonic()}), flush=True)
    sequence, due = 0, time.monotonic()
    while going:
        now = time.monotonic()
        if now >= due:
            stall = max(stall, now - due)
            due = max(due + EVERY_S, now)
            sequence = (sequence + 1) & 0xFFFF
            body = struct.pack("!HH", identity, sequence) + bytes(8)
            kind = 128 if six else 8
            sums = checksum(struct.pack("!BBH", kind, 0, 0) + body) if not six else 0
            with contextlib.suppress(OSError):
                ping.sendto(struct.pack("!BBH", kind, 0, sums) + body, (address, 0))
        for key, _ in selector.select(max(0.0, due - time.monotonic())):
            try:
                data = key.fileobj.recv(2048)
            except OSError:
                continue
            t = time.monotonic()
            if key.data == "wire":
                found = advert(data)
                if found is not None:
                    adverts.append([t, found[0], found[1].hex()])
            else:
                body = data if six else data[(data[0] & 15) * 4 :]
                if body[0] == (129 if six else 0) and struct.unpack_from("!H", body, 4)[0] == identity:
                    replies.append(t)
    print(json.dumps({"replies": replies, "adverts": adverts, "stall": stall}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
