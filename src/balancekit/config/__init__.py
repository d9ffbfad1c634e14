"""A balancer, its discovery, checks and retries from one file: TOML, JSON, a mapping or the environment.

.. code-block:: toml

    endpoints = ["10.0.0.1:8080", "10.0.0.2:8080"]   # or [discovery] source = "dns:orders.svc:8080"

    [balancer]
    selector = "RingHash"
    options = { vnodes = 200 }

    [checks]
    kind = "http"
    path = "/healthz"
    interval = 5.0

    [retry]
    attempts = 3

The keys of ``[balancer]`` are those of a scenario's ``[[balancers]]``. With a ``[simulation]`` table, the same file is a
scenario for ``balancekit simulate``. An unknown key raises ``ConfigurationError`` with its place in the file and the valid
keys. :func:`schema` returns a JSON Schema for editors.
"""

from __future__ import annotations

from balancekit._support.lazy import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from balancekit.config._configuration import Configuration, Retries
    from balancekit.config._endpoints import endpoints_of
    from balancekit.config._load import load, read
    from balancekit.config._recipe import Recipe, recipe
    from balancekit.config._schema import schema

__all__ = ["Configuration", "Recipe", "Retries", "endpoints_of", "load", "read", "recipe", "schema"]

if not TYPE_CHECKING:  # type checkers read the imports above, and know no other names
    __getattr__ = lazily(
        __name__,
        {
            "_configuration": ("Configuration", "Retries"),
            "_endpoints": ("endpoints_of",),
            "_load": ("load", "read"),
            "_recipe": ("Recipe", "recipe"),
            "_schema": ("schema",),
        },
    )


def __dir__() -> list[str]:
    return list(__all__)
