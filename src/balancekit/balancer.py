"""The balancer that an application embeds.

*A plain request,* with a key or without, names no exclusion, cost or attributes. :meth:`LoadBalancer.acquire` reads one
attribute that holds one immutable tuple, picks, and opens a lease. It takes no lock, makes no context object, and reads
the clock only if the pick needs the time. ``lease.py`` ends the lease, and calls back only for nodes that need it.

*Everything else* (an exclusion, a cost, attributes, something that is due, a lost lease, a selector without a picker)
takes the slow path of ``engine/fast_path.py``. The rest of this class is the public face of ``engine/runtime.py``.

Cost, in empty method calls, from ``acquire`` to the end of ``with``: about 25 with power of two choices
over in-flight, about 60 with the default. ``benchmarks/micro`` measures it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from random import Random
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, TypeVar, Unpack, cast, overload

from balancekit._support import validation as valid
from balancekit._support.calls import checked_call
from balancekit._support.display import same, shown
from balancekit._support.elsewhere import Elsewhere
from balancekit._support.functions import plain_function
from balancekit._support.interrupts import raise_interrupt
from balancekit._support.steady import SteadyClock
from balancekit._support.text import plain
from balancekit.endpoint import Endpoint, endpoints
from balancekit.engine import Runtime
from balancekit.engine.fast_path import acquire, check_request, context
from balancekit.engine.hooks import HealthMaker, SelectorHooks, health_is_timed, load_is_timed
from balancekit.engine.options import check_listeners, check_on_missing_key, check_options, warn_if_shared
from balancekit.engine.plans import make_plan, require_unchanged
from balancekit.engine.state import PoolState, find
from balancekit.engine.views import candidates_of, stats_of
from balancekit.errors import ConfigurationError, UnavailableError
from balancekit.events import Event, EventSink
from balancekit.exhaustion import ExhaustionPolicy, FailClosed
from balancekit.explanation import Explanation
from balancekit.health import CheckResult, Lifecycle
from balancekit.lease import Lease, OpenLease
from balancekit.loads import ExpectedDelay
from balancekit.outcome import Completion, Outcome
from balancekit.planning import Plan
from balancekit.protocols import Clock, LoadPolicy, Selector
from balancekit.selectors import ShortestExpectedDelay
from balancekit.snapshot import DEFAULT_COST, Key, Trace
from balancekit.statistics_view import BalancerStats

if TYPE_CHECKING:
    from balancekit.engine.options import Options

__all__ = ["LoadBalancer"]

T = TypeVar("T")

_DEFAULT_HEALTH = Lifecycle()
_DEFAULT_EXHAUSTION = FailClosed()
_NO_LEASE: Any = None
"""For requests that are not plain: the slow path opens the lease."""


class LoadBalancer(Generic[T]):
    """Pick an endpoint for each request, and account for the request until it ends.

    Parameters
    ----------
    endpoints
        Strings (each its own id and target), Endpoints, or a mapping from id to target. Not empty,
        unless ``allow_empty``, and at most 100,000 (about 5 kB and 0.1 ms each).
    selector
        The algorithm. ``ShortestExpectedDelay()`` if left out. One instance belongs to one balancer; a second one warns.
    load
        How busy an endpoint is, for selectors that compare loads. Left out, it is the selector's
        ``default_load``, or ``ExpectedDelay()``.
    health
        When an endpoint is ejected and when it returns. ``Lifecycle()`` if left out: five failures in a row
        eject it for one to two seconds, never the last one. ``None`` for no health.
    exhaustion
        Which endpoints serve when few or none are healthy: ``FailClosed()``, ``FailOpen()``, ``LeastBad()`` of
        ``balancekit.exhaustion``.
    clock
        Returns seconds. If it goes back by less than a second, time stands still; else time continues from where it was.
    rng
        The only source of randomness. Left out, it is seeded from the system, and again in a forked
        child.
    timed
        Whether to measure latency, at two clock readings a request. Left out, it is measured if the load, a rule of
        ``health`` or a selector that learns from successes needs it.
    listeners
        Functions that are called with each event, under no lock.
    on_missing_key
        The treatment of a request without a key. With ``"pick"``, a keyed selector picks at random. With ``"refuse"``,
        ``acquire`` raises ``MissingKeyError`` whatever the selector. Refuse where results are wrong without affinity.
    allow_empty
        Whether the pool may be empty, at the start or after an update (for discovery that has not answered yet).
    debug
        Whether to record where each lease was acquired, for the warning about a lost lease. Slow.

    Raises
    ------
    ConfigurationError
        If ``endpoints`` is empty without ``allow_empty``, has more than 100,000 items, a duplicate id, or an item that is
        neither a string nor an ``Endpoint``. If ``selector``, ``load``, ``health`` or ``exhaustion`` lacks a method, is a
        class in place of an instance, or has a misspelt hook. If ``clock`` returns no finite number, ``rng`` is no
        ``random.Random``, a listener is no plain callable, ``on_missing_key`` is another word, or ``timed``,
        ``allow_empty`` or ``debug`` is no bool.

    Notes
    -----
    Safe to share between threads and tasks. ``acquire`` never waits, so a plain ``with`` is right in
    coroutines too. No thread or task is ever started.

    *When not to use it:* when you only want an algorithm over keys, use ``balancekit.hashing`` alone.

    Example
    -------
    >>> from balancekit import LoadBalancer
    >>> lb = LoadBalancer(["10.0.0.1:8080", "10.0.0.2:8080"])
    >>> with lb.acquire() as lease:
    ...     address = lease.target
    >>> lb.stats().completed
    1
    >>> lb
    <LoadBalancer of 2 endpoints by ShortestExpectedDelay()>
    """

    __slots__ = ("__weakref__", "_allow_empty", "_configured", "_current", "_runtime")

    if not TYPE_CHECKING:  # type checkers know that there is nothing
        close = stop = __enter__ = Elsewhere(
            "a balancer has nothing to close; write `with lb.acquire() as lease:`"
        )
        pick = next = choose = select = get = get_endpoint = get_server = next_server = Elsewhere(
            "write `with lb.acquire() as lease:`"
        )
        release = report = success = failure = Elsewhere(
            "the lease reports: the end of its block, or lease.release(Outcome.FAILURE)"
        )
        eject = disable = mark_down = mark_failed = Elsewhere(
            "lb.drain(id) sends it no new requests; lb.report_check() takes the result of a check"
        )
        enable = mark_up = Elsewhere(
            "lb.undrain(id) ends a drain; lb.report_check() takes the result of a check"
        )
        add_endpoint = add_server = Elsewhere("write lb.add(endpoint)")
        remove_endpoint = remove_server = Elsewhere("write lb.remove(id)")

    @overload
    def __init__(self, endpoints: Mapping[str, T], **options: Unpack[Options]) -> None: ...
    @overload
    def __init__(self, endpoints: Iterable[Endpoint[T]], **options: Unpack[Options]) -> None: ...
    @overload
    def __init__(
        self: LoadBalancer[str],
        endpoints: Iterable[str | Endpoint[str]],
        **options: Unpack[Options],
    ) -> None: ...

    @checked_call
    def __init__(
        self,
        endpoints: Iterable[str | Endpoint[Any]] | Mapping[str, Any],
        *,
        selector: Selector | None = None,
        load: LoadPolicy | None = None,
        health: HealthMaker | None = _DEFAULT_HEALTH,
        exhaustion: ExhaustionPolicy = _DEFAULT_EXHAUSTION,
        clock: Clock = time.monotonic,
        rng: Random | None = None,
        timed: bool | None = None,
        listeners: Iterable[EventSink] = (),
        on_missing_key: Literal["pick", "refuse"] = "pick",
        allow_empty: bool = False,
        debug: bool = False,
    ) -> None:
        hooks = SelectorHooks(ShortestExpectedDelay() if selector is None else selector)
        policy = load if load is not None else hooks.default_load() or ExpectedDelay()
        listening = check_listeners(listeners)
        check_options(policy, load, health, exhaustion, clock, rng, listening)
        needs_time = load_is_timed(policy) or health_is_timed(health) or hooks.learns_from_latency
        self._allow_empty = valid.flag("allow_empty", allow_empty)
        self._runtime = Runtime(
            hooks,
            policy,
            health,
            exhaustion,
            clock if clock is time.monotonic else SteadyClock(clock),
            rng,
            timed=needs_time if timed is None else valid.flag("timed", timed) or needs_time,
            key_required=check_on_missing_key(on_missing_key),
            debug=valid.flag("debug", debug),
        )
        self._current = self._runtime.current
        self._configured: tuple[tuple[str, object, object], ...] = (
            ("load", load, None),
            ("health", health, _DEFAULT_HEALTH),
            ("exhaustion", exhaustion, _DEFAULT_EXHAUSTION),
        )
        self.update(endpoints)
        warn_if_shared(hooks.selector, self._runtime)
        for listener in listening:
            self._runtime.listeners.add(listener)

    # -------------------------------------------------------------------- requests

    def acquire(
        self,
        key: Key | None = None,
        /,
        *,
        cost: float = DEFAULT_COST,
        exclude: Collection[str] = (),
        attributes: Mapping[str, object] | None = None,
    ) -> Lease[T]:
        """Pick an endpoint and open a lease on it. Never waits.

        Parameters
        ----------
        key
            What keyed selectors hash: a string, bytes or an integer. Others ignore it.
        cost
            What the request costs relative to an ordinary one, > 0 and <= 1e12 (for a language model:
            tokens). Some loads and selectors use it.
        exclude
            Ids of endpoints not to pick, usually those already tried. An empty value excludes nothing.
        attributes
            Anything your own selector wants to see, as ``ctx.attributes``.

        Returns
        -------
        Lease
            Open; end it with ``with`` or ``release``.

        Raises
        ------
        PoolEmptyError, AllIneligibleError, AttemptsExhaustedError, SaturatedError
            If no endpoint may be picked; the error states the reasons and the retry time.
        MissingKeyError
            Without a key, if the balancer has ``on_missing_key="refuse"``.
        ConfigurationError
            If the key is no str, bytes or int, the cost no number > 0 and <= 1e12, an exclusion no id, or the attributes no
            mapping.
        SelectorError
            If a selector of your own returns anything but a candidate. Its own exceptions are passed on unchanged.

        Example
        -------
        >>> from balancekit import LoadBalancer
        >>> lb = LoadBalancer(["a", "b"])
        >>> with lb.acquire(exclude={"a"}) as lease:
        ...     lease.target
        'b'
        """
        pick, pick_by_key, clock, deadline, lost, owner, _ = self._current.fast
        lease: Lease[T]
        # What follows is open_lease(), written out: a call would be a tenth of it.
        try:
            if (
                exclude
                or cost is not DEFAULT_COST
                or lost
                or pick is None
                or attributes is not None
                or (key is not None and key.__class__ is not str and key.__class__ is not bytes)
            ):
                node, lease = None, _NO_LEASE
            elif key is not None and pick_by_key is not None:
                now = math.nan if clock is None else clock()
                node = None if now >= deadline else pick_by_key(key, now)
                lease = OpenLease()
                lease._started_at = now  # noqa: SLF001 - open_lease
            elif clock is None:
                node = pick()
                lease = OpenLease()
            else:
                now = clock()
                node = None if now >= deadline else pick(now)
                lease = OpenLease()
                lease._started_at = now  # noqa: SLF001 - open_lease
        except Exception:  # a load, a generator of the user, an array without truth: the slow path finds out
            raise_interrupt()
            node, lease = None, _NO_LEASE
        if node is None:
            return acquire(self._runtime, key, cost, exclude, attributes)
        lease._owner = owner  # noqa: SLF001 - open_lease
        lease.node = node
        node.inflight += 1
        lease._open = node  # noqa: SLF001 - open_lease
        return lease

    def attempts(
        self,
        limit: int,
        key: Key | None = None,
        /,
        *,
        cost: float = DEFAULT_COST,
        exclude: Collection[str] = (),
        attributes: Mapping[str, object] | None = None,
    ) -> Iterator[Lease[T]]:
        """Yield up to ``limit`` leases for one request, each on an endpoint not tried before.

        Leave the loop when an attempt succeeds. A lease that is still open when the next attempt begins
        is ended as a failure. The loop ends early, without an error, when no endpoint is left to try.

        Parameters
        ----------
        limit
            How many attempts at most, >= 1.
        key, cost, exclude, attributes
            As for :meth:`acquire`.

        Raises
        ------
        UnavailableError
            From the first attempt only, if no endpoint may be picked.
        MissingKeyError, SelectorError
            As for :meth:`acquire`.
        ConfigurationError
            If ``limit`` is no integer >= 1, or another argument is one that :meth:`acquire` refuses. No endpoint is picked.

        Example
        -------
        >>> from balancekit import LoadBalancer
        >>> lb = LoadBalancer(["a", "b", "c"])
        >>> tried = []
        >>> for lease in lb.attempts(2):
        ...     with lease:
        ...         tried.append(lease.target)
        >>> len(set(tried))
        2
        """
        count = limit if limit.__class__ is int and limit > 0 else valid.integer("limit", limit, minimum=1)
        tried = set(check_request(key, cost, exclude, attributes))
        return self._attempts(count, key, cost, tried, attributes)

    def ranking(
        self,
        key: Key | None = None,
        /,
        *,
        limit: int | None = None,
        exclude: Collection[str] = (),
        attributes: Mapping[str, object] | None = None,
    ) -> tuple[Endpoint[T], ...]:
        """Return the endpoints that a request would try, in order. Counts nothing.

        A round robin selector advances as if it had picked.

        Parameters
        ----------
        key, exclude, attributes
            As for :meth:`acquire`.
        limit
            How many at most, >= 1; all eligible ones if left out.

        Returns
        -------
        tuple
            Best first; empty if no endpoint may be picked. O(n) picks by the slow path.

        Raises
        ------
        MissingKeyError, ConfigurationError, SelectorError
            As for :meth:`acquire`.
        """
        tried = set(valid.exclusions(exclude))
        count = math.inf if limit is None else valid.integer("limit", limit, minimum=1)
        valid.request(key, 1.0, attributes)
        runtime = self._runtime
        now = runtime.wake()
        published = self._current.published
        found: list[Endpoint[T]] = []
        trace = Trace()  # with a trace, selectors that remember or charge what they picked do neither
        while len(found) < count:
            ctx = context(runtime, key, DEFAULT_COST, tried, attributes, now, trace)
            node = runtime.select(published, ctx)
            if node is None or node.id in tried:
                break
            tried.add(node.id)
            found.append(node.endpoint)  # type: ignore[arg-type]  # nodes are not generic
        return tuple(found)

    def explain(
        self,
        key: Key | None = None,
        /,
        *,
        exclude: Collection[str] = (),
        attributes: Mapping[str, object] | None = None,
    ) -> Explanation:
        """Return one decision with its reasons, also if no endpoint may be picked. Counts nothing. O(n).

        A round robin selector advances as if it had picked.

        Raises
        ------
        MissingKeyError, ConfigurationError, SelectorError
            As for :meth:`acquire`.

        Example
        -------
        >>> from balancekit import LoadBalancer
        >>> lb = LoadBalancer(["a", "b"])
        >>> lb.explain(exclude=["a"]).picked
        'b'
        """
        tried = valid.exclusions(exclude)
        valid.request(key, 1.0, attributes)
        runtime, trace = self._runtime, Trace()
        now = runtime.wake()
        published = self._current.published
        state = published.state
        node = runtime.select(published, context(runtime, key, DEFAULT_COST, tried, attributes, now, trace))
        picked = None if node is None else node.id
        return Explanation(
            picked=picked,
            key=key,
            selector=runtime.selector.name,
            candidates=candidates_of(state, runtime.guard, picked=picked, tried=tried, now=now),
            notes=tuple(trace.notes),
            panic=state.snapshot.panic,
        )

    # -------------------------------------------------------------------- membership

    def update(
        self,
        endpoints: Iterable[str | Endpoint[T]] | Mapping[str, T],
        /,
        *,
        keep_history: bool = False,
    ) -> None:
        """Make the pool contain exactly these endpoints, or raise and change nothing.

        Endpoints are compared by id. Those that stay keep load, counters, health, open leases and a drain that is
        under way, whatever else changed about them. An endpoint with a new target is a new endpoint, unless
        ``keep_history``. Removed endpoints get no new requests; their open leases end as usual.

        Parameters
        ----------
        endpoints
            As for the constructor.
        keep_history
            An endpoint with a new target is the same endpoint at a new address.

        Raises
        ------
        ConfigurationError
            If ``endpoints`` is empty without ``allow_empty``, has more than 100,000 items, a duplicate id, or an item that
            is neither a string nor an ``Endpoint``; or if ``keep_history`` is no bool. The pool is then unchanged.
        """
        wanted = _endpoints(endpoints)
        if not wanted and not self._allow_empty:
            raise ConfigurationError("endpoints", endpoints, "at least one endpoint (or allow_empty=True)")
        valid.flag("keep_history", keep_history)
        self._runtime.change(lambda _state: wanted, keep_history=keep_history)

    def add(self, endpoint: str | Endpoint[T], /) -> None:
        """Add one endpoint.

        Raises
        ------
        ConfigurationError
            If its id is in the pool already, or it is neither a string nor an Endpoint.
        """
        (new,) = _endpoints([endpoint])

        def wanted(state: PoolState) -> list[Endpoint[object]]:
            if new.id in state.members:
                raise ConfigurationError("endpoint", new.id, "an id that is not in the pool")
            return [*_present(state), new]

        self._runtime.change(wanted)

    def remove(self, id: str, /) -> None:
        """Remove an endpoint. Its open leases end as usual; a ``Drained`` event follows the last one.

        An endpoint that was drained before has had its event, and gets no second one. The last endpoint may be removed:
        ``acquire`` then raises ``PoolEmptyError``.

        Raises
        ------
        UnknownEndpointError
            If there is no such endpoint.
        """

        def wanted(state: PoolState) -> list[Endpoint[object]]:
            gone = find(state, id).endpoint
            return [endpoint for endpoint in _present(state) if endpoint is not gone]

        self._runtime.change(wanted)

    @checked_call
    def set_weight(self, id: str, weight: float, /) -> None:
        """Change an endpoint's weight. Zero sends nothing new while another may serve.

        Raises
        ------
        UnknownEndpointError
            If there is no such endpoint.
        ConfigurationError
            If the weight is no number from 0 to 1e100.
        """
        value = valid.weight("weight", weight)

        def wanted(state: PoolState) -> list[Endpoint[object]]:
            changed = find(state, id).endpoint
            return [e.replace(weight=value) if e is changed else e for e in _present(state)]

        self._runtime.change(wanted)

    @checked_call
    def drain(self, id: str, /, *, deadline: float = 300.0) -> None:
        """Send nothing new to an endpoint; it stays in the pool.

        A ``Drained`` event reports that its last lease has ended, or that the deadline passed with leases
        still open. :meth:`undrain` brings it back, :meth:`remove` takes it out.

        Parameters
        ----------
        id
            The endpoint.
        deadline
            Seconds from now, finite and >= 0. (AWS load balancers wait 300.)

        Raises
        ------
        UnknownEndpointError
            If there is no such endpoint.
        ConfigurationError
            For another deadline.
        """
        self._runtime.drain(id, valid.seconds("deadline", deadline))

    def undrain(self, id: str, /) -> None:
        """Let a draining endpoint be picked again.

        Raises
        ------
        UnknownEndpointError
            If there is no such endpoint.
        """
        self._runtime.undrain(id)

    @property
    def takes_checks(self) -> bool:
        """Whether the health policy takes the results of active checks; read by the runners of ``balancekit.checks``."""
        return self._runtime.takes_checks

    def report_check(self, id: str, result: CheckResult, /) -> bool:
        """Report the result of an active check of an endpoint. ``balancekit.checks`` does it for you.

        Returns
        -------
        bool
            Whether the endpoint is changing, so that it is worth checking it again soon.

        Raises
        ------
        UnknownEndpointError
            If there is no such endpoint (any more).
        ConfigurationError
            If the health policy of this balancer takes no check results.

        Example
        -------
        >>> from balancekit import LoadBalancer
        >>> from balancekit.health import CheckResult
        >>> lb = LoadBalancer(["a", "b"])
        >>> for _ in range(3):
        ...     _ = lb.report_check("a", CheckResult(passed=False, detail="connection refused"))
        >>> lb.stats()["a"].state
        'ejected'
        """
        if not isinstance(result, CheckResult):
            raise ConfigurationError("result", result, "a CheckResult")
        return self._runtime.check(id, result)

    def plan(self, endpoints: Iterable[str | Endpoint[T]] | Mapping[str, T], /) -> Plan:
        """Return what :meth:`update` to these endpoints would move, and change nothing.

        Returns
        -------
        Plan
            Exact parts of the key space and shares, health aside; ``apply()`` carries it out.
        """
        wanted = _endpoints(endpoints)
        runtime = self._runtime
        before = tuple(_present(runtime.state))

        def planned(state: PoolState) -> tuple[Endpoint[object], ...]:
            require_unchanged(_present(state), before)
            return wanted

        def apply() -> None:
            runtime.change(planned)

        return make_plan(runtime.selector.selector, before, wanted, apply)

    @property
    def endpoints(self) -> tuple[Endpoint[T], ...]:
        """The endpoints in the pool, in the order of configuration."""
        return tuple(_present(self._runtime.state))  # type: ignore[arg-type]  # nodes are not generic

    # -------------------------------------------------------------------- observing

    def stats(self) -> BalancerStats:
        """Return one immutable view of states, counters and latencies. O(n)."""
        now = self._runtime.wake(whole=True)
        return stats_of(self._runtime.state, now=now, refused=self._runtime.refused)

    def on_event(self, listener: EventSink, /) -> Callable[[], None]:
        """Call ``listener`` with each event from now on; return a function that ends that at once.

        Listeners run in the thread that caused the event, with no lock held. If one raises, the error is logged
        and nothing else changes. A listener may use the balancer. Events that it causes are delivered when all listeners
        have received the present one, so it must not wait for them. A listener that causes a further event by each event
        that it caused is cut off after 1,000 times.
        """
        return self._runtime.listeners.add(
            plain_function("listener", listener, "a callable of an event", takes=1)
        )

    def on_completion(self, observer: Callable[[Endpoint[T], Completion], None], /) -> Callable[[], None]:
        """Call ``observer`` whenever a lease ends, with its endpoint and how it went; return a function that ends that.

        For histograms and traces; everything that can be counted is in :meth:`stats` at no cost. While a callback
        observes, a request costs about three times as much. It runs in the thread that ended the lease, with no
        lock held; if it raises, the error is logged and nothing else changes. It may use the balancer as a listener may
        (:meth:`on_event`).

        Example
        -------
        >>> from balancekit import LoadBalancer
        >>> lb = LoadBalancer(["a"])
        >>> stop = lb.on_completion(lambda endpoint, completion: print(endpoint.id, completion.outcome.value))
        >>> with lb.acquire():
        ...     pass
        a success
        >>> stop()
        """
        plain_function("observer", observer, "a callable of an endpoint and a completion", takes=2)
        return self._runtime.observe(observer)

    def on_start(self, observer: Callable[[Endpoint[T]], None], /) -> Callable[[], None]:
        """Call ``observer`` whenever a lease begins, with its endpoint; return a function that ends that.

        For gauges that another process reads; everything else is in :meth:`stats` at no cost. While it is observed, no
        request takes the fast path. It runs in the thread that acquires, with no lock held; one that raises is logged
        and changes nothing. It may use the balancer as a listener may (:meth:`on_event`).

        Example
        -------
        >>> from balancekit import LoadBalancer
        >>> lb = LoadBalancer(["a"])
        >>> stop = lb.on_start(lambda endpoint: print("started", endpoint.id))
        >>> lb.acquire().release()
        started a
        True
        >>> stop()
        """
        plain_function("observer", observer, "a callable of an endpoint", takes=1)
        return self._runtime.observe_starts(observer)

    def on_refusal(self, observer: Callable[[str], object], /) -> Callable[[], None]:
        """Call ``observer`` whenever no endpoint can be picked, with the kind of refusal; return a function that ends that.

        For counters that another process reads; :meth:`stats` counts the same kinds at no cost. It runs in the thread that
        acquires, with no lock held; one that raises is logged and changes nothing. It may use the balancer as a listener may
        (:meth:`on_event`).

        Example
        -------
        >>> from balancekit import LoadBalancer, UnavailableError
        >>> lb = LoadBalancer(["a"])
        >>> stop = lb.on_refusal(print)
        >>> try:
        ...     lb.acquire(exclude=["a"])
        ... except UnavailableError:
        ...     stop()
        exhausted
        """
        plain_function("observer", observer, "a callable of a kind of refusal", takes=1)
        return self._runtime.refusals.add(observer)

    def emit(self, event: Event, /) -> None:
        """Hand an event of your own to the listeners, as the HTTP adapters do with retries.

        Parameters
        ----------
        event
            An :class:`~balancekit.events.Event`, with its time.

        Raises
        ------
        ConfigurationError
            If ``event`` is no ``Event``, or its endpoint, reason or cause has a lone surrogate.
        """
        if not isinstance(event, Event):
            raise ConfigurationError("event", event, "an Event of balancekit.events")
        for name in ("endpoint", "reason", "cause"):
            valid.text(name, getattr(event, name, "none"), empty=True)
        self._runtime.listeners.dispatch([event])

    def __iter__(self) -> Iterator[Endpoint[T]]:
        return iter(self.endpoints)

    def __len__(self) -> int:
        return len(self._runtime.state.members)

    def __contains__(self, endpoint: object) -> bool:
        id = endpoint.id if isinstance(endpoint, Endpoint) else endpoint
        return isinstance(id, str) and plain(id) in self._runtime.state.members

    def __dir__(self) -> list[str]:
        return [name for name in object.__dir__(self) if hasattr(self, name)]

    def __bool__(self) -> bool:
        return True  # an empty pool is still a balancer

    def __reduce__(self) -> NoReturn:
        raise TypeError("a LoadBalancer cannot be copied or pickled: construct one in each process")

    def __repr__(self) -> str:
        count, selector = len(self._runtime.state.members), shown(self._runtime.selector.selector)
        given = [
            f", {name}={shown(value)}"
            for name, value, default in self._configured
            if not same(value, default)
        ]
        return f"<LoadBalancer of {count} endpoint{'s' * (count != 1)} by {selector}{''.join(given)}>"

    def _attempts(
        self,
        limit: int,
        key: Key | None,
        cost: float,
        tried: set[str],
        attributes: Mapping[str, object] | None,
    ) -> Iterator[Lease[T]]:
        for number in range(limit):
            try:
                lease: Lease[T] = (
                    acquire(self._runtime, key, cost, tried, attributes, checked=True)
                    if tried
                    else self.acquire(key, cost=cost, attributes=attributes)
                )
            except UnavailableError:
                if number == 0:
                    raise
                return
            tried.add(lease.node.id)
            yield lease
            lease.release(Outcome.FAILURE)


def _endpoints(source: object) -> tuple[Endpoint[object], ...]:
    return cast("tuple[Endpoint[object], ...]", endpoints(cast("Iterable[str]", source)))


def _present(state: PoolState) -> list[Endpoint[object]]:
    return [member.endpoint for member in state.members.values()]
