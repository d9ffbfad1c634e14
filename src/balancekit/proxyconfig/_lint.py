"""Findings in the configuration of a proxy: lines that do not have the effect that they seem to have.

Each finding has a file, a line, the actual effect, and advice. A directive that is only unusual is no finding.
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
    r"""Return the findings in a configuration, in the order of the file.

    Parameters
    ----------
    config
        The result of :func:`read_config`. Its files are read again.

    Raises
    ------
    ProxyConfigError
        If a file cannot be read any more, because it was removed or changed.
    ConfigurationError
        If ``config`` is no :class:`ProxyConfig`.

    Notes
    -----
    *Guarantee.* Each finding is one of these: requests that get no answer, a server that gets no requests, a limit that
    does not hold, or a directive without an effect. There are no findings about style.

    *When not to use it:* to validate a file. ``nginx -t``, ``haproxy -c`` and ``envoy --mode validate`` know every
    directive.

    Cost: O(size of the files).

    Example
    -------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from balancekit.proxyconfig import lint_config, read_config
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "haproxy.cfg")
    ...     _ = path.write_text("backend b\n balance roundrobin\n option redispatch\n"
    ...                         " server a 10.0.0.1:80 check\n server b 10.0.0.2:80 check weight 0\n")
    ...     [(one.origin.line, one.rule) for one in lint_config(read_config(str(path)))]
    [(1, 'unused-pool'), (5, 'never-serves')]
    """
    found = {(one.origin, one.rule): one for one in LINTERS[config.kind](config)}
    return tuple(sorted(found.values(), key=lambda one: (one.origin, one.rule)))
