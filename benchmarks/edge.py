"""Round trips through the TCP proxy of ``docs/how-to/edge-tcp.md``, compared with those without it.

    uv run python -m benchmarks.edge [--check]

There is one connection through the proxy and one without. Each round trip sends a hundred bytes and receives them again. The
connections are used alternately, so a slow period of the machine affects both. All runs in one process over loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import statistics
import sys
import time
from pathlib import Path
from typing import Any, Final

from benchmarks._harness import machine

from balancekit.l4 import FlowMatch, FlowRoutes, proxy_protocol

PAGE: Final = Path(__file__).parents[1] / "docs" / "how-to" / "edge-tcp.md"
ROUND_TRIPS: Final = 4_000
PAYLOAD: Final = b"x" * 100
PATIENCE_S: Final = 5.0
"""The timeout of a round trip, in seconds."""
MAX_RATIO: Final = 2.0
"""The largest accepted ratio of the medians: with the proxy over without."""


def edge() -> dict[str, Any]:
    """Return the names that the first code block of the page defines."""
    [code, *_] = re.findall(
        r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    names: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), names)  # noqa: S102 - a page of this repository
    return names


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Drop the PROXY header, if there is one, and send all other data back."""
    data = await reader.read(65_536)
    header = proxy_protocol.parse(data, mode="optional")
    data = data[header.size :] if isinstance(header, proxy_protocol.ProxyHeader) else data
    while data:
        writer.write(data)
        data = await reader.read(65_536)
    writer.close()


async def round_trips() -> tuple[list[float], list[float]]:
    """Return the times of round trips without the proxy and with it, in seconds."""
    names = edge()
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    pool = names["sticky_pool"]([f"127.0.0.1:{port}"])
    proxy = await names["Edge"](FlowRoutes([(FlowMatch(), pool)])).serve("127.0.0.1", 0)
    direct = await asyncio.open_connection("127.0.0.1", port)
    through = await asyncio.open_connection(*proxy.sockets[0].getsockname()[:2])
    through[1].write(proxy_protocol.build(("203.0.113.7", 40_000), ("192.0.2.80", 443)))
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(2 * ROUND_TRIPS):
        reader, writer = (direct, through)[turn % 2]
        begin = time.perf_counter()
        async with asyncio.timeout(PATIENCE_S):
            writer.write(PAYLOAD)
            await reader.readexactly(len(PAYLOAD))
        times[turn % 2].append(time.perf_counter() - begin)
    for _, writer in (direct, through):
        writer.close()
    proxy.close()
    server.close()
    await asyncio.sleep(0.05)
    return times


def main() -> int:
    """Print the medians. With ``--check``, fail if the ratio is over its bound."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.edge", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if the ratio is over its bound")
    options = parser.parse_args()
    print(machine())
    without, with_it = [statistics.median(times) * 1e6 for times in asyncio.run(round_trips())]
    ratio = with_it / without
    print(
        f"direct {without:.0f} us, through the edge {with_it:.0f} us: {ratio:.2f} x  (at most {MAX_RATIO:g})"
    )
    return int(options.check and ratio > MAX_RATIO)


if __name__ == "__main__":
    sys.exit(main())
