"""Endpoints, outcomes, records, errors: the values that cross the border."""

from __future__ import annotations

import asyncio
import copy
import pickle
import sqlite3
import subprocess
import urllib.error

import aiohttp
import grpc
import grpc.aio
import httpx
import httpx2
import pytest
import redis
import requests
import trio
import urllib3

from balancekit import (
    AllIneligibleError,
    BalancekitError,
    ConfigurationError,
    Endpoint,
    LeaseError,
    LoadBalancer,
    Outcome,
    PoolEmptyError,
    UnavailableError,
    UnknownEndpointError,
    classify_exception,
    endpoints,
    errors,
)
from balancekit._support.record import Record
from balancekit.adapters._classification import classify_status
from balancekit.events import Added, Ejected
from balancekit.outcome import Completion


class Point(Record):
    """A record for the tests."""

    x: float
    y: float = 0.0

    def _check(self):
        if self.x < 0:
            raise ConfigurationError("x", self.x, "a number >= 0")


@pytest.mark.parametrize(
    "value", [Point(x=1.0), Endpoint("a", 3, weight=2, metadata={"k": "v"}), Added(endpoint="a", at=1.0)]
)
def test_a_value_survives_copy_and_pickle(value):
    """A copied or unpickled value is equal to the original, of equal hash and of the same kind."""
    for again in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert again == value
        assert hash(again) == hash(value)
        assert type(again) is type(value)
        assert repr(again) == repr(value)


def test_a_value_is_frozen():
    """A field of a value cannot be set or deleted, and none can be added."""
    point = Point(x=1.0)
    for name in ("x", "z"):
        with pytest.raises(AttributeError, match="immutable"):
            setattr(point, name, 2.0)
    with pytest.raises(AttributeError, match="immutable"):
        del point.x
    with pytest.raises(TypeError):
        Endpoint("a", metadata={"k": "v"}).metadata["k"] = "w"


def test_a_copy_with_changes_is_checked_like_a_new_one():
    """``replace`` refuses what the constructor refuses."""
    assert Point(x=1.0).replace(y=5.0) == Point(x=1.0, y=5.0)
    with pytest.raises(ConfigurationError, match="x=-1"):
        Point(x=1.0).replace(x=-1)
    with pytest.raises(TypeError, match="'z'"):
        Point(x=1.0).replace(z=1)
    with pytest.raises(TypeError, match="needs 'x'"):
        Point()
    with pytest.raises(ConfigurationError, match="weight"):
        Endpoint("a").replace(weight=-1)


def test_kinds_are_not_equal_to_each_other():
    """Values of different kinds with the same fields are not equal."""

    class Other(Record):
        x: float
        y: float = 0.0

    assert Other(x=1.0) != Point(x=1.0)
    assert Point(x=1.0) != (1.0, 0.0)
    assert Point(x=1.0) != Point(x=2.0)


def test_inherited_fields_come_first():
    """The inherited fields of an event, endpoint and time, come before its own."""
    event = Ejected(endpoint="a", at=1.0, until=2.0, streak=1, cause="because")
    assert repr(event).startswith("Ejected(endpoint='a', at=1.0, ")


def test_endpoints_from_what_people_have():
    """Endpoints are made from strings, Endpoints, both, a mapping or an iterator, and keep their order."""
    assert [e.id for e in endpoints(iter(["b", Endpoint("a")]))] == ["b", "a"]
    assert endpoints({"x": None})[0].target is None
    assert endpoints([]) == ()
    assert endpoints(["s"])[0].target == "s"
    with pytest.raises(ConfigurationError, match="endpoints='a'"):
        endpoints(["a", Endpoint("a")])


def test_numbers_of_other_libraries_are_numbers():
    """A number of numpy and a Fraction are allowed as a weight."""
    from decimal import Decimal
    from fractions import Fraction

    import numpy as np

    for weight in (np.float64(2.0), np.int32(2), Fraction(2), Decimal(2)):
        assert type(Endpoint("a", weight=weight).weight) is float
    assert type(Endpoint("a", priority=np.int64(3)).priority) is int


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, Outcome.SUCCESS),
        (TimeoutError(), Outcome.TIMEOUT),
        (ConnectionRefusedError(), Outcome.CONNECT_FAILED),
        (BrokenPipeError(), Outcome.CONNECT_FAILED),
        (ValueError(), Outcome.FAILURE),
        (OSError(), Outcome.FAILURE),
        (asyncio.CancelledError(), Outcome.CANCELLED),
        (KeyboardInterrupt(), Outcome.CANCELLED),
        (GeneratorExit(), Outcome.CANCELLED),
        (SystemExit(), Outcome.CANCELLED),
        (ExceptionGroup("both", [TimeoutError(), TimeoutError()]), Outcome.TIMEOUT),
        (ExceptionGroup("mixed", [TimeoutError(), ValueError()]), Outcome.FAILURE),
        (
            BaseExceptionGroup("deep", [BaseExceptionGroup("in", [asyncio.CancelledError()])]),
            Outcome.CANCELLED,
        ),
    ],
)
def test_an_exception_says_how_it_ended(error, outcome):
    """Each exception has the outcome that the docstring's table says."""
    assert classify_exception(error) is outcome


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        (trio.TooSlowError, Outcome.TIMEOUT),
        (httpx.ReadTimeout, Outcome.TIMEOUT),
        (httpx2.WriteTimeout, Outcome.TIMEOUT),
        (httpx2.PoolTimeout, Outcome.IGNORED),
        (requests.ReadTimeout, Outcome.TIMEOUT),
        (urllib3.exceptions.ReadTimeoutError, Outcome.TIMEOUT),
        (aiohttp.ServerTimeoutError, Outcome.TIMEOUT),
        (redis.TimeoutError, Outcome.TIMEOUT),
        (subprocess.TimeoutExpired, Outcome.TIMEOUT),
        (httpx.ConnectError, Outcome.FAILURE),
        (requests.ConnectionError, Outcome.FAILURE),
    ],
    ids=lambda value: f"{value.__module__}.{value.__name__}" if isinstance(value, type) else value.value,
)
def test_a_timeout_is_one_whatever_the_client(kind, outcome):
    """The timeouts of clients and frameworks have the outcome of ``TimeoutError``, although they derive from other classes."""
    assert classify_exception(kind.__new__(kind)) is outcome


def raised_for(status, client):
    """Return what a client raises for an answer of a status, when it is asked to."""
    url = "http://10.0.0.1/x"
    if client == "urllib":
        return urllib.error.HTTPError(url, status, "X", {}, None)
    if client == "aiohttp":
        return aiohttp.ClientResponseError(None, (), status=status)
    if client == "requests":
        answer = requests.Response()
        answer.status_code = status
    else:
        answer = {"httpx": httpx, "httpx2": httpx2}[client].Response(
            status, request={"httpx": httpx, "httpx2": httpx2}[client].Request("GET", url)
        )
    try:
        answer.raise_for_status()
    except Exception as error:
        return error
    return None


@pytest.mark.parametrize("client", ["urllib", "aiohttp", "requests", "httpx", "httpx2"])
def test_a_status_that_a_client_raises_has_the_outcome_of_the_adapters(client):
    """An answer of 404 says that its endpoint is healthy, whether its client raises for it or not, as in the adapters."""
    for status in range(400, 600):
        outcome = classify_status(status).outcome
        assert classify_exception(raised_for(status, client)) is outcome, status


RPC_FAILURES = {
    "UNAVAILABLE": Outcome.CONNECT_FAILED,
    "DEADLINE_EXCEEDED": Outcome.TIMEOUT,
    "RESOURCE_EXHAUSTED": Outcome.OVERLOADED,
    "CANCELLED": Outcome.CANCELLED,
    "UNKNOWN": Outcome.FAILURE,
    "INTERNAL": Outcome.FAILURE,
    "DATA_LOSS": Outcome.FAILURE,
}


@pytest.mark.parametrize(
    "code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK], ids=str
)
def test_a_code_that_grpc_raises_says_whether_it_is_an_answer(code):
    """Both clients of gRPC raise for answers such as NOT_FOUND, too; those say that the server is healthy."""
    outcome = RPC_FAILURES.get(code.name, Outcome.SUCCESS)
    raised = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata())
    assert classify_exception(raised) is outcome

    class Raised(grpc.RpcError):
        """What the blocking client raises."""

        def code(self):
            """Return the status code."""
            return code

    assert classify_exception(Raised()) is outcome
    assert classify_exception(grpc.RpcError()) is Outcome.FAILURE


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("DataError", Outcome.SUCCESS),
        ("IntegrityError", Outcome.SUCCESS),
        ("NotSupportedError", Outcome.SUCCESS),
        ("ProgrammingError", Outcome.SUCCESS),
        ("OperationalError", Outcome.FAILURE),
        ("InternalError", Outcome.FAILURE),
        ("DatabaseError", Outcome.FAILURE),
    ],
)
def test_a_statement_that_a_database_rejects_is_an_answer(name, outcome):
    """A duplicate key says that the database is healthy; the classes of PEP 249 tell it from a lost connection."""
    rejected = getattr(sqlite3, name)
    assert classify_exception(rejected()) is outcome
    assert classify_exception(type("UniqueViolation", (rejected,), {})()) is outcome
    assert classify_exception(redis.DataError()) is Outcome.FAILURE


def test_a_redirect_that_httpx_raises_for_is_an_answer():
    """Httpx raises for a redirect that it does not follow, too; its endpoint is healthy."""
    assert classify_exception(raised_for(302, "httpx")) is Outcome.SUCCESS


def test_a_client_that_cannot_read_an_answer_raises_for_no_status():
    """Aiohttp gives the status 400 to an answer that is none: that is a failure, and so is an error without an answer."""
    broken = aiohttp.ClientResponseError(None, (), status=400)
    broken.__cause__ = ValueError()
    page = aiohttp.ContentTypeError(None, (), status=200)
    for error in (broken, page, requests.HTTPError("x"), urllib3.exceptions.HTTPError("x")):
        assert classify_exception(error) is Outcome.FAILURE


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("urllib3.exceptions", "EmptyPoolError"),
        ("redis.exceptions", "MaxConnectionsError"),
        ("pymongo.errors", "WaitQueueTimeoutError"),
        ("psycopg_pool", "PoolTimeout"),
        ("sqlalchemy.exc", "TimeoutError"),
    ],
)
def test_a_full_pool_of_the_client_blames_no_endpoint(module, name):
    """The errors of clients for a pool of their own that is full are ignored, in whichever class they are."""
    full = type(name, (Exception,), {"__module__": module})
    assert classify_exception(full()) is Outcome.IGNORED
    assert classify_exception(type("TimeoutError", (Exception,), {})()) is Outcome.TIMEOUT


def test_a_trio_timeout_in_a_plain_lease_is_a_timeout():
    """``trio.fail_after`` in the block of a lease does what ``asyncio.timeout`` does there."""
    lb = LoadBalancer(["a"])

    async def slow():
        with lb.acquire(), trio.fail_after(0.001):
            await trio.sleep_forever()

    with pytest.raises(trio.TooSlowError):
        trio.run(slow)
    assert lb.stats().outcomes[Outcome.TIMEOUT] == 1


def test_a_completion_wants_an_outcome():
    """A completion takes a member of ``Outcome``, and no string that looks like one."""
    with pytest.raises(ConfigurationError, match="outcome="):
        Completion("success", started_at=0.0, ended_at=1.0)
    assert Completion(Outcome.SUCCESS, started_at=1.0, ended_at=3.5).latency == 2.5
    streamed = Completion(Outcome.SUCCESS, started_at=1.0, ended_at=3.5, first_byte_at=2.0)
    assert (streamed.latency, streamed.duration) == (1.0, 2.5)


def test_the_tree_of_errors():
    """Each error of the library is a BalancekitError.

    Wrong values, unknown endpoints and lease errors are built-in errors too.
    """
    for name in errors.__all__:
        kind = getattr(errors, name)
        if isinstance(kind, type) and issubclass(kind, Exception):
            assert issubclass(kind, BalancekitError)
    assert issubclass(ConfigurationError, ValueError)
    assert issubclass(UnknownEndpointError, LookupError)
    assert issubclass(LeaseError, RuntimeError)
    assert {kind.__name__ for kind in UnavailableError.__subclasses__()} == {
        "PoolEmptyError",
        "AllIneligibleError",
        "SaturatedError",
        "AttemptsExhaustedError",
    }


@pytest.mark.parametrize(
    "error",
    [
        ConfigurationError("weight", -1, "a number"),
        UnknownEndpointError("x", ("a",)),
        AllIneligibleError("all out", 3.0, {errors.Reason.EJECTED: 2}, 1.0),
        PoolEmptyError("empty"),
    ],
)
def test_errors_cross_process_borders(error):
    """A pickled error has the same text and notes as the original."""
    error.add_note("case 7")
    again = pickle.loads(pickle.dumps(error))
    assert again.__notes__ == error.__notes__
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.__dict__.keys() == error.__dict__.keys()
    assert getattr(again, "retry_in", None) == getattr(error, "retry_in", None)


def test_an_unknown_endpoint_in_a_large_pool_shows_a_few():
    """The message about an unknown endpoint names a few ids, also in a pool of ten thousand."""
    text = str(UnknownEndpointError("x", tuple(f"e{k}" for k in range(10_000))))
    assert text.endswith("'e7' and 9992 more")
    assert str(UnknownEndpointError("x", ())) == "no endpoint 'x' in this pool; it is empty"
