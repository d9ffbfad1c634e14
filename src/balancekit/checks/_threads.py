"""Runner of checks in daemon threads that share one schedule.

There is no thread before :meth:`ThreadChecks.start` and none after :meth:`ThreadChecks.stop`, which interrupts
running exchanges. The threads are daemons, so the interpreter does not wait for them at exit. They do not exist
in a forked child; there the runner is stopped and may be started again.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, final

from balancekit._support.elsewhere import Elsewhere
from balancekit._support.fork import call_in_child, new_condition
from balancekit._support.log import log_error
from balancekit._support.runner import ThreadRunner, join_all
from balancekit._support.validation import MAX_WAIT_S
from balancekit.checks._result import NetworkCheck, Peer, ProbeExchange, ProbeResult, SyncCallable
from balancekit.checks._runner import (
    DEFAULT_SCHEDULE,
    MAX_RECEIVED_BYTES,
    CheckRunner,
    RunnerCore,
    failure,
    probe_result,
)
from balancekit.checks._schedule import Schedule
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError
from balancekit.outcome import CheckResult
from balancekit.protocols import ObservableBalancer

__all__ = ["ThreadChecks"]


@final
class ThreadChecks(CheckRunner, ThreadRunner):
    """Check the endpoints of a balancer, in threads.

    Parameters
    ----------
    balancer
        The balancer of the endpoints; its health policy must take check results (``Lifecycle`` does).
    check
        A :class:`TcpCheck`, :class:`HttpCheck`, :class:`DeepCheck`, or a function called with an endpoint and
        a timeout in seconds, which it must keep.
    schedule
        The intervals and the timeout.
    concurrency
        The most checks that run at once, >= 1. An endpoint that hangs occupies a worker for the whole timeout.
    shared
        See :class:`SharedDependencies`.

    *When not to use it:* in a program that runs on asyncio; use :class:`AsyncChecks`.

    Example
    -------
    >>> from balancekit import LoadBalancer
    >>> from balancekit.checks import Schedule, ThreadChecks
    >>> lb = LoadBalancer(["10.0.0.1:8080"])
    >>> with ThreadChecks(lb, lambda endpoint, timeout: True, schedule=Schedule(interval=60.0)):
    ...     pass
    """

    if not TYPE_CHECKING:  # type checkers know that it is synchronous
        __aenter__ = Elsewhere("write `with ThreadChecks(...)`, or use AsyncChecks")

    def __init__(
        self,
        balancer: ObservableBalancer[Any],
        check: NetworkCheck | SyncCallable,
        *,
        schedule: Schedule = DEFAULT_SCHEDULE,
        concurrency: int = 8,
        shared: float = 0.5,
    ) -> None:
        super().__init__(balancer, check, schedule, concurrency, shared, coroutine=False)
        self._check = check
        self._rest()
        call_in_child(self)

    def _rest(self) -> None:
        """Reset to the state before the first start."""
        self._wakeup = new_condition()
        self._threads: list[threading.Thread] = []
        self._ending: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._core: RunnerCore | None = None

    @property
    def running(self) -> bool:
        """Whether the checks are started."""
        return self._core is not None

    def _start(self) -> None:
        with self._wakeup:
            if self._core is not None:
                return
            self._core = core = RunnerCore(self._balancer, self._schedule, self._shared)
            core.wake = self._wake
            self._threads = [
                threading.Thread(target=self._work, args=(core,), name=f"balancekit-check-{k}", daemon=True)
                for k in range(self._concurrency)
            ]
            for thread in self._threads:
                thread.start()

    def stop(self) -> None:
        """Stop checking, and return when no thread is left. Does nothing if it is stopped."""
        core = self._core
        if core is not None:
            core.close()
        with self._wakeup:
            if self._core is core:
                self._ending.extend(self._threads)
                self._threads, self._core = [], None
                for connection in self._open:
                    with contextlib.suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)
                self._wakeup.notify_all()
        join_all(self._ending)

    # ------------------------------------------------------------------ in the threads

    def _wake(self) -> None:
        with self._wakeup:
            self._wakeup.notify_all()

    def _work(self, core: RunnerCore) -> None:
        while (endpoint := self._next(core)) is not None:
            found = self._run_check(endpoint)
            with self._wakeup:
                if self._core is not core:  # interrupted by stop(): not a result
                    return
                result = core.result(endpoint, found)
            core.notes.flush()
            changing = self._report(core, endpoint, result)
            with self._wakeup:
                core.done(endpoint, changing=changing, now=time.monotonic())
                self._wakeup.notify()

    def _next(self, core: RunnerCore) -> Endpoint[Any] | None:
        """Wait for an endpoint that is due; ``None`` once the runner is stopped."""
        while True:
            with self._wakeup:
                stale = core.is_stale(time.monotonic())
            endpoints = core.read() if stale else None
            core.notes.flush()
            with self._wakeup:
                if self._core is not core:
                    return None
                if endpoints is not None:
                    core.take(endpoints, time.monotonic())
                    self._wakeup.notify_all()
                endpoint, wait = core.begin(time.monotonic())
                if endpoint is not None:
                    return endpoint
                self._wakeup.wait(min(wait, MAX_WAIT_S))

    def _report(self, core: RunnerCore, endpoint: Endpoint[Any], result: CheckResult | None) -> bool:
        try:
            return core.report(endpoint, result)
        except BaseException:
            log_error("the check of %r could not be reported", endpoint.id)
            return False

    def _run_check(self, endpoint: Endpoint[Any]) -> ProbeResult | Exception:
        """Return the result of the check, or the error that left it without one."""
        deadline, check = time.monotonic() + self._schedule.timeout, self._check
        try:
            if isinstance(check, NetworkCheck):
                try:
                    peer, exchange = check.peer(endpoint), check.exchange(endpoint)
                except ConfigurationError as error:  # the target of the endpoint is no address
                    return failure(error)
                return self._exchange(peer, exchange, deadline)
            return probe_result(check(endpoint, self._schedule.timeout))
        except TimeoutError:
            return ProbeResult(passed=False, detail="timed out", answered=False)
        except ConfigurationError as error:
            return error
        except BaseException as error:
            # SystemExit of a check, for one, would end the thread and the checks with it.
            return failure(error)

    def _exchange(self, peer: Peer, exchange: ProbeExchange, deadline: float) -> ProbeResult:
        connection = self._connect(peer, deadline)
        try:
            if not exchange.request:
                return probe_result(exchange.receive(b""))
            connection.settimeout(_left(deadline))
            connection.sendall(exchange.request)
            while True:
                connection.settimeout(_left(deadline))
                data = connection.recv(MAX_RECEIVED_BYTES)
                found = exchange.receive(data)
                if found is not None or not data:
                    return probe_result(found)
        finally:
            self._close(connection)

    def _connect(self, peer: Peer, deadline: float) -> socket.socket:
        """Connect to the first address that accepts, so that :meth:`stop` can close the connection."""
        error: OSError = OSError(f"no address for {peer.host!r}")
        addresses = socket.getaddrinfo(peer.host, peer.port, type=socket.SOCK_STREAM)
        for family, kind, protocol, _, address in addresses:
            try:
                connection = socket.socket(family, kind, protocol)
            except OSError as caught:  # for example of a family that the kernel lacks
                error = caught
                continue
            self._note(self._open.add, connection)
            try:
                connection.settimeout(_left(deadline))
                connection.connect(address)
                connection.settimeout(_left(deadline))  # limits the handshake
                self._check_running()
                return connection if peer.tls is None else self._secure(connection, peer)
            except OSError as caught:
                error = caught
                self._close(connection)
            except BaseException:
                self._close(connection)
                raise
        raise error

    def _check_running(self) -> None:
        """Raise if :meth:`stop` was called before the connection existed."""
        with self._wakeup:
            if self._core is None:
                raise ConnectionAbortedError("the checks are stopped")

    def _secure(self, plain: socket.socket, peer: Peer) -> socket.socket:
        assert peer.tls is not None
        secured = peer.tls.wrap_socket(plain, server_hostname=peer.server_name, do_handshake_on_connect=False)
        self._note(self._open.add, secured)
        self._note(self._open.discard, plain)
        try:
            secured.do_handshake()
        except BaseException:
            self._close(secured)
            raise
        return secured

    def _close(self, connection: socket.socket) -> None:
        self._note(self._open.discard, connection)
        connection.close()

    def _note(self, change: Callable[[socket.socket], None], connection: socket.socket) -> None:
        with self._wakeup:
            change(connection)

    # ------------------------------------------------------------------ forking

    def after_fork(self) -> None:
        """Stop in a forked child, which does not have the threads."""
        if self._core is not None:
            self._core.close()
        for connection in self._open:
            connection.close()
        self._rest()


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0.0:
        raise TimeoutError
    return left
