"""Toy HTTP servers that are slow, fail, hang or reset on request: ``python -m balancekit.testing.server``.

For examples, recipes and tests of software that balances over HTTP. In a program, :class:`ToyServers` runs them on a
thread of its own; from a shell, the command runs them in a process of its own, and :func:`behave` changes what one does.
A URL may name a behavior: ``/status?code=503&retry_after=5``, ``/slow?seconds=0.2``, ``/hang``,
``/reset``, ``/half``, ``/pieces?n=5&gap=0.1``, ``/events``, ``/echo``, ``/redirect?to=/ok``; any other path is answered
with the name of the server. Needs the extra ``testing`` (aiohttp).
"""

from __future__ import annotations

import json
import signal
import ssl
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Final, Self

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
CONTROL_TIMEOUT_S: Final = 10.0
"""For a control request."""
POLL_S: Final = 0.2
"""Between two looks of the command for a signal."""


class ToyServer(StateRepr, prints=("name", "address")):
    """One server of :class:`ToyServers`, which makes it.

    Example
    -------
    >>> import urllib.request
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
        """Requests received so far, in order."""
        return self._toy.received

    @property
    def connections(self) -> int:
        """Number of connections accepted so far."""
        return self._toy.connections

    @spelled(Behavior)
    def behave(self, behavior: str | Behavior | None = None, /, **fields: Any) -> None:
        """Do this with every request from now on, whatever its URL says; without arguments, heed URLs again.

        Parameters
        ----------
        behavior
            A :class:`Behavior`, or the path and query of a URL that names one.
        **fields
            Fields of a :class:`Behavior`.

        Raises
        ------
        ConfigurationError
            If a field is unknown or outside its range.
        """
        self._toy.fixed = _behavior(behavior, fields)

    def once(self, *behaviors: str | Behavior) -> None:
        """Do these with the next requests, one behavior each.

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
        """Listen again, on the same port."""
        self._thread.run(self._toy.start())


class ToyServers(StateRepr, prints=("addresses",)):
    """Some toy servers on loopback, on one background thread. A context manager.

    Parameters
    ----------
    names
        Their names, or how many; a number gives ``a``, ``b``, ``c`` and so on.
    port
        Port of the first one, 1 to 65535, the others following it; 0 lets the system choose.
    tls
        Server-side TLS context, or ``None`` for plain HTTP.
    behavior
        What they do with requests whose URL names no behavior, for example a latency.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its range.
    OSError
        When starting, if a port is taken; then none is started.

    Notes
    -----
    Serves a few thousand requests a second. *When not to use it:* as a load generator's counterpart in a benchmark.

    Example
    -------
    >>> import urllib.request
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
        """Host and port of each, in order."""
        return [server.address for server in self]

    def start(self) -> Self:
        """Start all of them; return this object.

        Raises
        ------
        OSError
            If a port is taken; then none is started.
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
        """Stop all of them and their thread. Stopping twice does nothing."""
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
    """Instruct a toy server in another process what to do with every request from now on.

    Parameters
    ----------
    address
        Its host and port.
    behavior
        A :class:`Behavior`, or the path and query of a URL that names one; neither this nor fields: heed URLs again.
    down
        Seconds for which it is gone: it refuses connections, and open ones are reset. 0 for not at all.
    **fields
        Fields of a :class:`Behavior`.

    Raises
    ------
    ConfigurationError
        If a field is unknown or outside its range, or no toy server is listening at the address.

    Example
    -------
    >>> with ToyServers(["a"]) as servers:
    ...     behave(servers["a"].address, status=503, retry_after=30)
    ...     behave(servers["a"].address)  # back to normal
    """
    wanted = _behavior(behavior, fields)
    if wanted is None:
        _control(address, "DELETE", "behavior", None)
    else:
        _control(address, "PUT", "behavior", {name: getattr(wanted, name) for name in wanted._fields})
    if valid.number("down", down, minimum=0.0):
        _control(address, "PUT", "down", down)


def _control(address: str, method: str, path: str, content: object) -> None:
    """Send one control request."""
    data = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(f"http://{address}/_toy/{path}", data=data, method=method)
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        direct.open(request, timeout=CONTROL_TIMEOUT_S).close()
    except (OSError, ValueError) as error:
        allowed = "the address of a toy server; start some: python -m balancekit.testing.server"
        raise ConfigurationError("address", address, allowed) from error


def _names(names: int | Sequence[str]) -> list[str]:
    """Return the names of the servers, checked."""
    if isinstance(names, bool):
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
    """Return a behavior, given as one or as a URL that names one."""
    if isinstance(behavior, Behavior):
        return behavior
    if isinstance(behavior, str):
        return Behavior.parse(behavior)
    raise ConfigurationError(
        "behavior", behavior, "a Behavior, or the path and query of a URL that names one"
    )


def _behavior(behavior: str | Behavior | None, fields: dict[str, Any]) -> Behavior | None:
    """Return the behavior that arguments describe; ``None`` if there are none."""
    if behavior is None:
        return Behavior.from_fields(fields) if fields else None
    return _known(behavior).replace(**fields)


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
        "--latency",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="median time to a response (default: %(default)s)",
    )
    parser.add_argument(
        "--jitter", type=float, default=0.3, help="sigma of the lognormal latency (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
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
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with servers:
        for server in servers:
            sys.stdout.write(f"{server.name}  {server.url}\n")
        sys.stdout.write("Ready. Press Ctrl-C to stop.\n")
        sys.stdout.flush()
        while not ended.wait(POLL_S):  # an endless wait might not run the handler
            pass
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
