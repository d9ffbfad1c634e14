"""Configurations of real proxies, read to explain where a request would go.

:func:`read_config` reads a file of nginx, HAProxy or Envoy into a :class:`ProxyConfig`: pools, routes, and a list of what is not
modelled, each with file and line. :meth:`ProxyConfig.explain` takes one decision with its reasons, by the machines of
:mod:`balancekit.compat`. :func:`lint_config` finds lines that do not do what they seem to say. :func:`export_config` writes a
file for pools and routes that were tested in Python. Needs the extra ``proxyconfig``.

Files are read with limits (4 MB and 1,000 files together), so a broken or hostile one ends in a
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
