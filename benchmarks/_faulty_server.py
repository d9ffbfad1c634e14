"""A real HTTP server in its own process, which can be set to fail.

    python -m benchmarks._faulty_server --name a

It prints its port, answers every path after some 10 ms, and ends when its standard input is closed. After a request for
``/mode?mode=refusing`` it answers 503 at once. After ``mode=flapping`` it answers 503 for 3 s, then normally for 3 s, and so
on. ``mode=well`` ends both. ``/count`` returns the number of requests, except those for ``/mode``, ``/count`` and
``/health``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from random import Random

from aiohttp import web

HALF = 3.0
"""Seconds for which a flapping server fails, and for which it then works."""


def application(name: str) -> web.Application:
    """Return the application of a server."""
    rng, mode, since, count = Random(name), "well", 0.0, 0

    def fails() -> bool:
        if mode == "flapping":
            return int((time.monotonic() - since) / HALF) % 2 == 0
        return mode == "refusing"

    async def answer(request: web.Request) -> web.Response:
        nonlocal mode, since, count
        if request.path == "/mode":
            mode, since = request.query["mode"], time.monotonic()
        elif request.path == "/count":
            return web.Response(text=str(count))
        elif request.path != "/health":
            count += 1
        if fails() and request.path != "/mode":
            return web.Response(status=503)
        await asyncio.sleep(0.01 * rng.lognormvariate(0.0, 0.3))
        return web.Response(text=name)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    return app


async def serve(name: str, port: int) -> None:
    """Serve until standard input is closed."""
    runner = web.AppRunner(application(name), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096, reuse_address=True).start()
    (address,) = runner.addresses
    sys.stdout.write(f"{address[1]}\n")
    sys.stdout.flush()
    closed = asyncio.Event()

    def check_input() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            closed.set()

    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), check_input)
    await closed.wait()
    await runner.cleanup()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks._faulty_server")
    parser.add_argument("--name", required=True)
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    asyncio.run(serve(options.name, options.port))


if __name__ == "__main__":
    main()
