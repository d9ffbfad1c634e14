"""A small HTTP server for the demos, as a process: ``python -m balancekit.cli._server``.

It answers each path after a delay, and prints its port on the first line of standard output. It ends when its standard input
is closed, so it does not outlive its parent. It also ends, without a message, if it cannot print its port because the parent
has gone.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from random import Random

from aiohttp import web

from balancekit._support.output import discard

__all__ = ["main"]


def application(name: str, delay: float, spread: float) -> web.Application:
    """Return an application that answers after a lognormal delay of median ``delay`` seconds."""
    rng = Random(name)

    async def answer(_request: web.Request) -> web.Response:
        await asyncio.sleep(delay * rng.lognormvariate(0.0, spread))
        return web.Response(text=name)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    return app


async def serve(name: str, port: int, delay: float, spread: float) -> None:
    """Serve until standard input is closed."""
    runner = web.AppRunner(application(name, delay, spread), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, backlog=4096)
    await site.start()
    (address,) = runner.addresses
    sys.stdout.write(f"{address[1]}\n")
    sys.stdout.flush()
    closed = asyncio.Event()

    def look() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            closed.set()

    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), look)
    await closed.wait()
    await runner.cleanup()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m balancekit.cli._server")
    parser.add_argument("--name", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.01, help="median seconds to an answer")
    parser.add_argument("--spread", type=float, default=0.3, help="sigma of the lognormal delay")
    options = parser.parse_args()
    try:
        asyncio.run(serve(options.name, options.port, options.delay, options.spread))
    except BrokenPipeError:
        discard(sys.stdout)


if __name__ == "__main__":
    main()
