"""Naive models: what the fast structures must agree with, written as their rules are told."""

from __future__ import annotations


def nginx_smooth(weights, turns):
    """Nginx 1.22: add every weight, serve the largest (first on a tie), take the total off it."""
    current = [0] * len(weights)
    served = []
    for _ in range(turns):
        current = [c + w for c, w in zip(current, weights, strict=True)]
        best = current.index(max(current))
        current[best] -= sum(weights)
        served.append(best)
    return served


def least_request(nodes):
    """All whose (in-flight + 1) / weight is least."""
    score = min((node.inflight + 1) / node.weight for node in nodes)
    return {node.id for node in nodes if (node.inflight + 1) / node.weight == score}
