"""Configurations of nginx, HAProxy and Envoy: they are read, explained, checked and written.

:func:`read_config` reads a file into a :class:`ProxyConfig`: its pools, its routes, and a list of directives that are
not modelled, each with file and line. :meth:`ProxyConfig.explain` returns the server that a request would go to, and
the reasons. It uses the machines of :mod:`balancekit.compat`. :func:`lint_config` finds lines that do not have the
effect that they seem to have. :func:`plan_change` compares two configurations. :func:`export_config` writes a
configuration for pools and routes that were tested in Python. Needs the extra ``proxyconfig``.

A configuration may have 4 MB in 1,000 files. A file that is larger, or cannot be parsed, raises a
:class:`ProxyConfigError` with file and line.
"""

from __future__ import annotations

from balancekit._support.lazy import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from balancekit.proxyconfig._config import ProxyConfig
    from balancekit.proxyconfig._envoy import read_envoy
    from balancekit.proxyconfig._export import Export, export_config
    from balancekit.proxyconfig._export_facts import Difference
    from balancekit.proxyconfig._export_pool import ExportPool, export_pool
    from balancekit.proxyconfig._haproxy import read_haproxy
    from balancekit.proxyconfig._kind import kind_of_text, read_config
    from balancekit.proxyconfig._lint import lint_config
    from balancekit.proxyconfig._lint_finding import LintFinding
    from balancekit.proxyconfig._model import (
        Chooser,
        Decision,
        NotModelled,
        Origin,
        Pool,
        PoolServer,
        ProxyConfigError,
        ProxyRequest,
        Routing,
    )
    from balancekit.proxyconfig._nginx import read_nginx
    from balancekit.proxyconfig._plan import PoolChange, ProxyPlan, plan_change
    from balancekit.proxyconfig._plan_log import AccessLog, read_log
    from balancekit.proxyconfig._pool_model import PoolModel, pool_model

__all__ = [
    "AccessLog",
    "Chooser",
    "Decision",
    "Difference",
    "Export",
    "ExportPool",
    "LintFinding",
    "NotModelled",
    "Origin",
    "Pool",
    "PoolChange",
    "PoolModel",
    "PoolServer",
    "ProxyConfig",
    "ProxyConfigError",
    "ProxyPlan",
    "ProxyRequest",
    "Routing",
    "export_config",
    "export_pool",
    "kind_of_text",
    "lint_config",
    "plan_change",
    "pool_model",
    "read_config",
    "read_envoy",
    "read_haproxy",
    "read_log",
    "read_nginx",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and know no other names
    __getattr__ = lazily(
        __name__,
        {
            "_config": ("ProxyConfig",),
            "_envoy": ("read_envoy",),
            "_export": ("Export", "export_config"),
            "_export_facts": ("Difference",),
            "_export_pool": ("ExportPool", "export_pool"),
            "_haproxy": ("read_haproxy",),
            "_kind": ("kind_of_text", "read_config"),
            "_lint": ("lint_config",),
            "_lint_finding": ("LintFinding",),
            "_model": (
                "Chooser",
                "Decision",
                "NotModelled",
                "Origin",
                "Pool",
                "PoolServer",
                "ProxyConfigError",
                "ProxyRequest",
                "Routing",
            ),
            "_nginx": ("read_nginx",),
            "_plan": ("PoolChange", "ProxyPlan", "plan_change"),
            "_plan_log": ("AccessLog", "read_log"),
            "_pool_model": ("PoolModel", "pool_model"),
        },
        extra="proxyconfig",
    )
