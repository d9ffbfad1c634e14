"""Lazy attributes for packages: many names are offered, and each is imported when it is first used.

Importing the package then costs nothing worth measuring, and a program that only hashes keys never loads the
balancer. Type checkers read the imports under ``TYPE_CHECKING`` beside it.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["lazily"]


def lazily(
    package: str, homes: Mapping[str, tuple[str, ...]], *, packages: tuple[str, ...] = (), extra: str = ""
) -> Callable[[str], object]:
    """Return a module ``__getattr__`` that finds names in the modules that are their homes.

    Parameters
    ----------
    package
        The package's ``__name__``.
    homes
        Names by module, relative to the package.
    packages
        Packages below this one that are attributes, too. A name of one of them raises ``ImportError`` that says where it
        is: ``from package import name`` shows the text of no ``AttributeError``.
    extra
        What brings the packages that the modules import, for the error if one is missing.
    """

    def getattribute(name: str) -> object:
        for module, names in homes.items():
            if name in names:
                value: object = getattr(_imported(f"{package}.{module}", name, extra), name)
                setattr(sys.modules[package], name, value)
                return value
        if name in packages:
            return __import__(f"{package}.{name}", fromlist=["__all__"])
        if not name.startswith("_"):
            for each in packages:
                found = __import__(f"{package}.{each}", fromlist=["__all__"])
                if name in getattr(found, "__all__", ()):
                    raise ImportError(f"{name} is in {package}.{each}: from {package}.{each} import {name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return getattribute


def _imported(module: str, name: str, extra: str) -> object:
    """Import a module that has a name, or say which extra brings what it needs."""
    if not extra:
        return __import__(module, fromlist=[name])
    from balancekit._support.extras import extra as imports_of  # noqa: PLC0415 - `import balancekit` loads nothing

    with imports_of(extra):
        return __import__(module, fromlist=[name])
