"""Findings in the configuration of a proxy: lines that do not do what they seem to say.

Each finding has a file, a line, what happens, and what to write. Directives that are only unusual are none.
"""

from __future__ import annotations

from balancekit._support.arguments import checked_arguments
from balancekit.proxyconfig._config import ProxyConfig
from balancekit.proxyconfig._lint_envoy import lint_envoy
from balancekit.proxyconfig._lint_finding import LintFinding
from balancekit.proxyconfig._lint_haproxy import lint_haproxy
from balancekit.proxyconfig._lint_nginx import lint_nginx

__all__ = ["lint_config"]

LINTERS = {"nginx": lint_nginx, "haproxy": lint_haproxy, "envoy": lint_envoy}


@checked_arguments
def lint_config(config: ProxyConfig) -> tuple[LintFinding, ...]:
    r"""Return what is wrong in a configuration, in the order of the file.

    Parameters
    ----------
    config
        What :func:`read_config` returned; its files are read once more.

    Raises
    ------
    ProxyConfigError
        If a file has gone or changed since it was read, and cannot be read any more.

    Notes
    -----
    *Guarantee.* No finding is a matter of taste: each names requests that get no answer, a server that gets no requests, a limit
    that does not hold, or a directive without an effect.

    *When not to use it:* to validate a file; ``nginx -t``, ``haproxy -c`` and ``envoy --mode validate`` know every directive.

    Example
    -------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from balancekit.proxyconfig import read_config
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "haproxy.cfg")
    ...     _ = path.write_text("backend b\n balance roundrobin\n option redispatch\n"
    ...                         " server a 10.0.0.1:80 check\n server b 10.0.0.2:80 check weight 0\n")
    ...     [(one.origin.line, one.rule) for one in lint_config(read_config(str(path)))]
    [(1, 'unused-pool'), (5, 'never-serves')]
    """
    found = {(one.origin, one.rule): one for one in LINTERS[config.kind](config)}
    return tuple(sorted(found.values(), key=lambda one: (one.origin, one.rule)))
