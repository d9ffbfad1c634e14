"""Toy HTTP servers that are slow, fail, hang or reset on request: ``python -m balancekit.testing.server``.

Use them in examples and tests of software that balances over HTTP. In a program, :class:`ToyServers` runs them on a
background thread. From a shell, the command runs them in a process, and :func:`behave` changes the behavior of one.

A URL can name a behavior: ``/status?code=503&retry_after=5``, ``/slow?seconds=0.2``, ``/hang``, ``/reset``, ``/half``,
``/pieces?n=5&gap=0.1``, ``/events``, ``/echo``, ``/redirect?to=/ok``. The response to any other path is the name of the
server. Needs the extra ``testing`` (aiohttp).
"""

from __future__ import annotations

import json
import signal
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from http.client import HTTPException
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Final, Self

from balancekit._support.extras import command_imports

with command_imports(__name__):
    from balancekit._support import validation as valid
    from balancekit._support.calls import checked_call
    from balancekit._support.display import StateRepr
    from balancekit._support.parser import Parser
    from balancekit._support.signature import spelled
    from balancekit.errors import ConfigurationError
    from balancekit.testing._behavior import Behavior
    from balancekit.testing._loop_thread import LoopThread
    from balancekit.testing._toy import HOST, Received, Toy

__all__ = ["Behavior", "Received", "ToyServer", "ToyServers", "behave", "main"]

FIRST_PORT: Final = 9101
"""Port of the first server that the command starts."""
MAX_SERVERS: Final = 100
URL_DELIMITERS: Final = frozenset("/?#@")
"""What no address has: it would end the host and port in a URL."""
CONTROL_TIMEOUT_S: Final = 10.0
"""Timeout of a control request."""
POLL_S: Final = 0.2
"""Seconds between two checks of the command whether a signal has arrived."""


class ToyServer(StateRepr, prints=("name", "address")):
    """One toy server. Made by :class:`ToyServers`.

    Example
    -------
    >>> import urllib.request
    >>> from balancekit.testing.server import ToyServers
    >>> with ToyServers(["a"]) as servers:
    ...     servers["a"].behave("/slow?seconds=0.01")
    ...     urllib.request.urlopen(servers["a"].url).read()
    ...     [request.path for request in servers["a"].received]
    b'a'
    ['/']
    """

    @checked_call
    def __init__(self, toy: Toy, thread: LoopThread) -> None:
        self._toy = toy
        self._thread = thread

    @property
    def name(self) -> str:
        """Name of the server, which is the body of its plain responses."""
        return self._toy.name

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{HOST}:{self._toy.port}"

    @property
    def url(self) -> str:
        """URL of the root."""
        return f"{'http' if self._toy.tls is None else 'https'}://{self.address}/"

    @property
    def received(self) -> list[Received]:
        """Requests received so far, in order; the last 10,000 of them."""
        return self._toy.received

    @property
    def connections(self) -> int:
        """Number of connections accepted so far."""
        return self._toy.connections

    @spelled(Behavior)
    def behave(self, behavior: str | Behavior | None = None, /, **fields: Any) -> None:
        """Set the behavior for all later requests, whatever their URLs. Without arguments, use the URLs again.

        Parameters
        ----------
        behavior
            A :class:`Behavior`, or the path and query of a URL that names one.
        **fields
            Fields of a :class:`Behavior`. They override those of ``behavior``.

        Raises
        ------
        ConfigurationError
            If a field is unknown or outside its range.
        """
        self._toy.fixed = _behavior(behavior, fields)

    def once(self, *behaviors: str | Behavior) -> None:
        """Set the behaviors of the next requests, one for each request.

        Raises
        ------
        ConfigurationError
            If a field is unknown or outside its range.
        """
        self._toy.script.extend([_known(behavior) for behavior in behaviors])

    def stop(self) -> None:
        """Stop listening and reset all open connections, as a killed process does."""
        self._thread.run(self._toy.stop())

    def start(self) -> None:
        """Listen again, on the same port. If the server listens, do nothing.

        Raises
        ------
        OSError
            If the port is in use.
        """
        self._thread.run(self._toy.start())


class ToyServers(StateRepr, prints=("addresses",)):
    """Several toy servers on 127.0.0.1 that run on one background thread. A context manager.

    Parameters
    ----------
    names
        Names of the servers, or their number, 1 to 100. With a number, the names are ``a``, ``b``, ``c`` and so on.
    port
        Port of the first server, 1 to 65535. The others use the following ports. With 0, the system chooses free ports.
    tls
        Server-side TLS context, or ``None`` for plain HTTP.
    behavior
        Behavior for requests whose URL names none, for example ``"/slow?seconds=0.1"``.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its range.
    OSError
        When the context is entered, if a port is in use. Then no server runs.

    Notes
    -----
    *When not to use it:* to measure the throughput of a client. The servers handle a few thousand requests per second.

    Example
    -------
    >>> import urllib.request
    >>> from balancekit.testing.server import ToyServers
    >>> with ToyServers(2) as servers:
    ...     [urllib.request.urlopen(f"http://{address}/").read() for address in servers.addresses]
    [b'a', b'b']
    """

    @checked_call
    def __init__(
        self,
        names: int | Sequence[str] = 4,
        *,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        behavior: str | Behavior = "/",
    ) -> None:
        chosen = _names(names)
        first = valid.integer("port", port, minimum=0)
        if first > 65_536 - len(chosen):
            raise ConfigurationError(
                "port", port, f"0, or at most {65_536 - len(chosen)} for {len(chosen)} servers"
            )
        usual = _known(behavior)
        self._thread = LoopThread()
        toys = [Toy(name, first + place if first else 0, tls, usual) for place, name in enumerate(chosen)]
        self._servers = {toy.name: ToyServer(toy, self._thread) for toy in toys}

    @property
    def addresses(self) -> list[str]:
        """Host and port of each server, in the order of their names."""
        return [server.address for server in self]

    def start(self) -> Self:
        """Start all servers; return this object.

        Raises
        ------
        OSError
            If a port is in use. Then no server runs.
        """
        self._thread.start()
        try:
            for server in self:
                server.start()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop all servers and their thread. If they are stopped, do nothing."""
        if self._thread.running:
            for server in self:
                server.stop()
            self._thread.stop()

    def __getitem__(self, name: str) -> ToyServer:
        return self._servers[name]

    def __iter__(self) -> Iterator[ToyServer]:
        return iter(self._servers.values())

    def __len__(self) -> int:
        return len(self._servers)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


@spelled(Behavior)
def behave(
    address: str, behavior: str | Behavior | None = None, /, *, down: float = 0.0, **fields: Any
) -> None:
    """Set the behavior of a toy server in another process for all later requests.

    Without ``behavior`` and ``fields``, the server uses the URLs of requests again.

    Parameters
    ----------
    address
        Host and port of the server.
    behavior
        A :class:`Behavior`, or the path and query of a URL that names one.
    down
        Seconds for which the server is down, >= 0. It resets open connections and refuses new ones. 0 for no downtime.
    **fields
        Fields of a :class:`Behavior`. They override those of ``behavior``.

    Raises
    ------
    ConfigurationError
        If a field is unknown or ``down`` or a field is outside its range, and then nothing has changed. If no toy server
        listens at the address.

    Cost: one or two HTTP requests; it blocks for at most 10 s each.

    Example
    -------
    >>> from balancekit.testing.server import ToyServers, behave
    >>> with ToyServers(["a"]) as servers:
    ...     behave(servers["a"].address, status=503, retry_after=30)
    ...     behave(servers["a"].address)  # back to normal
    """
    wanted = _behavior(behavior, fields)
    down = valid.number("down", down, minimum=0.0)
    if wanted is None:
        _control(address, "DELETE", "behavior", None)
    else:
        _control(address, "PUT", "behavior", {name: getattr(wanted, name) for name in wanted._fields})
    if down:
        _control(address, "PUT", "down", down)


def _control(address: str, method: str, path: str, content: object) -> None:
    """Send one control request."""
    allowed = "the address of a toy server; start some: python -m balancekit.testing.server"
    if not isinstance(address, str) or URL_DELIMITERS.intersection(address):
        raise ConfigurationError("address", address, allowed)
    data = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(f"http://{address}/_toy/{path}", data=data, method=method)
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        direct.open(request, timeout=CONTROL_TIMEOUT_S).close()
    except (OSError, ValueError, HTTPException) as error:
        raise ConfigurationError("address", address, allowed) from error


def _names(names: int | Sequence[str]) -> list[str]:
    """Return the names of the servers.

    Raises
    ------
    ConfigurationError
        If the number is outside its bounds, or a name is empty, not printable, or there twice.
    """
    if isinstance(names, bool) or not isinstance(names, int | Iterable):
        raise ConfigurationError("names", names, f"a number from 1 to {MAX_SERVERS}, or names")
    if not isinstance(names, int):
        found = [names] if isinstance(names, str) else list(_texts(names))
        if not 1 <= len(set(found)) == len(found) <= MAX_SERVERS:
            raise ConfigurationError("names", names, f"1 to {MAX_SERVERS} different names")
        return found
    if not 1 <= names <= MAX_SERVERS:
        raise ConfigurationError("names", names, f"a number from 1 to {MAX_SERVERS}, or names")
    letters = "abcdefghijklmnopqrstuvwxyz"
    return [letters[place] if names <= len(letters) else f"server-{place}" for place in range(names)]


def _texts(names: Iterable[object]) -> Iterator[str]:
    for name in names:
        if not (isinstance(name, str) and name and name.isprintable()):
            raise ConfigurationError("names", name, "a printable, non-empty string")
        yield name


def _known(behavior: str | Behavior) -> Behavior:
    """Return a behavior that is given as an object or as a URL.

    Raises
    ------
    ConfigurationError
        If it is neither.
    """
    if isinstance(behavior, Behavior):
        return behavior
    if isinstance(behavior, str):
        return Behavior.parse(behavior)
    raise ConfigurationError(
        "behavior", behavior, "a Behavior, or the path and query of a URL that names one"
    )


def _behavior(behavior: str | Behavior | None, fields: dict[str, Any]) -> Behavior | None:
    """Return the behavior that arguments describe; ``None`` if there are no arguments."""
    if behavior is None and not fields:
        return None
    base = Behavior() if behavior is None else _known(behavior)
    return Behavior.from_fields({**{name: getattr(base, name) for name in base._fields}, **fields})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run toy servers from the command line until interrupted; return the exit status."""
    parser = Parser(
        prog="python -m balancekit.testing.server",
        description="Toy HTTP servers on loopback. A URL may name a fault: /status?code=503, /slow?seconds=1, "
        "/hang, /reset, /half, /pieces, /events, /echo.",
    )
    parser.add_argument(
        "--count", type=int, default=4, metavar="SERVERS", help="how many (default: %(default)s)"
    )
    parser.add_argument(
        "--port", type=int, default=FIRST_PORT, help="port of the first one (default: %(default)s)"
    )
    parser.add_argument(
        "--latency", type=float, default=0.0, metavar="SECONDS", help="median latency (default: %(default)s)"
    )
    parser.add_argument(
        "--jitter", type=float, default=0.3, help="sigma of the lognormal latency (default: %(default)s)"
    )
    options = parser.parsed(arguments)
    try:
        usual = Behavior(latency=options.latency, jitter=options.jitter if options.latency else 0.0)
        servers = ToyServers(options.count, port=options.port, behavior=usual)
    except ConfigurationError as error:
        parser.error(str(error))
    try:
        servers.start()
    except OSError as error:
        sys.stderr.write(f"cannot listen: {error.strerror}; choose another --port\n")
        return 1
    # ``set`` of an Event could wait for the code that it interrupts.
    signals: SimpleQueue[bool] = SimpleQueue()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: signals.put(False))
    with servers:
        for server in servers:
            sys.stdout.write(f"{server.name}  {server.url}\n")
        sys.stdout.write("Ready. Press Ctrl-C to stop.\n")
        sys.stdout.flush()
        running = True
        while running:
            with suppress(Empty):
                running = signals.get(timeout=POLL_S)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
