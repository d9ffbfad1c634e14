"""The engine of a balancer: the private package that `LoadBalancer` calls.

The steps of a request (acquire on the left, release on the right), and of a change of the pool:

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

``locks.py`` lists what may run under which lock. ``state.py`` defines the state of a pool. ``hooks.py`` lists the hooks of
user code, and ``guard.py`` calls them.
"""

from __future__ import annotations

from balancekit.engine.runtime import Runtime

__all__ = ["Runtime"]
