"""The engine behind a balancer: one room, private to the library.

One request, acquire and release side by side:

.. code-block:: text

    LoadBalancer.acquire(key)                           Lease.__exit__ / release
      │ reads current.fast, one immutable tuple           │ successes += 1, inflight -= 1
      ├─ plain ──► pick(now) ─► lease, inflight += 1       ├─ plain success on a quiet node: nothing else
      └─ else ──► fast_path.acquire                        └─ node.callbacks, or any other end
           validate, runtime.wake (what is due)                 ledger.succeeded   latency, load
           publisher.select (selector, checked)                 ledger.finish      completion ─► load, selector.learn
           ledger.open ─► open_lease                              └─► dispatch.record ─► turn (one thread at a time)
                                                                        health machine ─► state.recorded
    LoadBalancer.update / add / remove / drain                          publisher.prepare ─► swap ─► listeners
      membership.updated(state, wanted) ─► new state
      publisher.prepare       tables and picker, no lock
      publisher.swap          one reference, writer lock
      listeners.dispatch      listeners, no lock

``locks.py`` says what may run under which lock, ``state.py`` what a state is, ``hooks.py`` which code of the user there is,
``guard.py`` how it is called.
"""

from __future__ import annotations

from balancekit.engine.runtime import Runtime

__all__ = ["Runtime"]
