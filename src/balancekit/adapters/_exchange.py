"""The retry exchange of all adapters: what to do next, without I/O, and two loops that do it.

:func:`exchange` is a generator, like the ``auth_flow`` of httpx. It yields a :class:`Directive` and receives its result.
:func:`carry_out` and :func:`carry_out_async` execute it for synchronous and asynchronous clients; an adapter passes them
the functions that send one attempt, close an answer, and hand it to the caller.

.. code-block:: text

    QUEUE    wait in ``call.room`` for the first lease; send back the error if there is none
    WAIT     no endpoint is eligible, one will be soon: wait for ``call.pause`` seconds
    SEND     send the request to the endpoint of ``call.lease``; send back the answer, or the error
    DISCARD  close the answer in hand: there is another endpoint
    OVER     return the answer, or raise the error, of the last attempt

Cost: one generator a request, about a microsecond.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from balancekit._support.interrupts import raised_by_signal
from balancekit._support.log import log_change
from balancekit._support.shortage import is_shortage
from balancekit.adapters._call import Call
from balancekit.adapters._classification import BODY_RAISED, CUT_OFF, SHORTAGE, Classification
from balancekit.adapters._target import Address
from balancekit.errors import UnavailableError, brief_error
from balancekit.outcome import Outcome

__all__ = ["Answer", "Directive", "Exchange", "Rules", "carry_out", "carry_out_async", "exchange"]

R = TypeVar("R")
"""A client's answer."""


class Directive(enum.Enum):
    """What an adapter is to do next."""

    QUEUE = "queue"
    WAIT = "wait"
    SEND = "send"
    DISCARD = "discard"
    OVER = "over"


class Answer(NamedTuple, Generic[R]):
    """An answer, and what the exchange reads of it."""

    response: R
    status: int
    headers: Mapping[str, str]
    address: Address


class Rules(NamedTuple):
    """What a client knows of its own classes."""

    classify: Callable[[BaseException], Classification]
    """Classifies an error of an attempt."""
    replayable: Callable[[Any], bool]
    """Returns whether the body of a request can be sent again."""
    no_endpoint: Callable[[UnavailableError], Exception]
    """Makes the client's own error for having no endpoint to connect to."""


Exchange: TypeAlias = Generator[Directive, Answer[Any] | BaseException | None, None]


def exchange(call: Call, request: Any, rules: Rules) -> Exchange:
    """Yield what to do next for one request.

    After :attr:`Directive.SEND` it expects an :class:`Answer` or the error, after :attr:`Directive.QUEUE` the error if
    there is one, after the others nothing. It holds one lease at a time, and the next one is taken before an answer is
    discarded.

    Raises
    ------
    Exception
        The client's own error, from ``UnavailableError``, if no endpoint is eligible.
    """
    waited = 0.0
    if call.room is not None:
        refused = yield Directive.QUEUE
        if isinstance(refused, UnavailableError):
            raise rules.no_endpoint(refused) from refused
    while call.room is None:
        try:
            call.begin()
        except UnavailableError as error:
            pause = call.pause_for(error, waited=waited)
            if pause is None:
                raise rules.no_endpoint(error) from error
            call.pause = pause
        else:
            break
        yield Directive.WAIT
        waited += call.pause
    while True:
        directive = _following(call, request, rules, (yield Directive.SEND))
        if directive is not Directive.SEND:
            yield directive


def _following(call: Call, request: Any, rules: Rules, came: Answer[Any] | BaseException | None) -> Directive:
    """Return what to do after an attempt. The generator keeps no error, which would keep the generator."""
    if isinstance(came, Answer):
        _, status, headers, address = came
        discarded = call.answered(status, headers, address, request, replayable=rules.replayable)
        return Directive.DISCARD if discarded else Directive.OVER
    if came is None:
        return Directive.OVER
    classification = rules.classify(came)
    if call.body_raised and isinstance(came, Exception):
        classification = BODY_RAISED
    if call.cut_off and isinstance(came, Exception):
        classification = CUT_OFF
    if classification.outcome is Outcome.CONNECT_FAILED and is_shortage(came, call.handled):
        classification = SHORTAGE
    retried = call.failed(classification, request, replayable=rules.replayable)
    return Directive.SEND if retried else Directive.OVER


def carry_out(
    call: Call,
    steps: Exchange,
    send: Callable[[], Answer[R]],
    close: Callable[[R], object],
    hand_over: Callable[[R], R],
) -> R:
    """Send one request by the directives of an exchange, and return the answer.

    Parameters
    ----------
    call
        Its state.
    steps
        Made by :func:`exchange`.
    send
        Sends one attempt, to the endpoint of ``call.lease``.
    close
        Closes an answer that is not read.
    hand_over
        Makes the answer of an endpoint that of the service.
    """
    directive = next(steps)
    if directive is Directive.QUEUE and call.room is not None:
        directive = steps.send(call.queue(call.room))
    while True:
        if directive is Directive.WAIT:
            time.sleep(call.pause)
            directive = next(steps)
            continue
        try:
            answer = send()
        except BaseException as error:
            directive = steps.send(error)
            if directive is Directive.OVER:
                call.annotate(error)
                raise
            continue
        try:
            if steps.send(answer) is Directive.OVER:
                return hand_over(answer.response)
            with _abandoned(call):
                close(answer.response)
        except BaseException:
            call.closed()
            close(answer.response)
            raise
        directive = next(steps)


async def carry_out_async(
    call: Call,
    steps: Exchange,
    send: Callable[[], Awaitable[Answer[R]]],
    close: Callable[[R], Awaitable[object]],
    hand_over: Callable[[R], R],
    sleep: Callable[[float], Awaitable[object]],
) -> R:
    """Send one request by the directives of an exchange, and return the answer. As :func:`carry_out`.

    Parameters
    ----------
    sleep
        Waits in the event loop of the client.
    """
    directive = next(steps)
    if directive is Directive.QUEUE and call.room is not None:
        directive = steps.send(await call.queue_async(call.room))
    while True:
        if directive is Directive.WAIT:
            await sleep(call.pause)
            directive = next(steps)
            continue
        try:
            answer = await send()
        except BaseException as error:
            directive = steps.send(error)
            if directive is Directive.OVER:
                call.annotate(error)
                raise
            continue
        try:
            if steps.send(answer) is Directive.OVER:
                return hand_over(answer.response)
            with _abandoned(call):
                await close(answer.response)
        except BaseException:
            call.closed()
            await close(answer.response)
            raise
        directive = next(steps)


@contextmanager
def _abandoned(call: Call) -> Iterator[None]:
    """Close an answer that is not used: if that is interrupted, the lease of the next attempt ends with it."""
    try:
        yield
    except Exception as error:
        if raised_by_signal(error):
            call.lease.release(Outcome.CANCELLED)
            raise
        log_change("closing an answer that was not used failed: %s", brief_error(error), bad=True)
    except BaseException:
        call.lease.release(Outcome.CANCELLED)
        raise
