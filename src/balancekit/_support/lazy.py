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


def lazily(package: str, homes: Mapping[str, tuple[str, ...]]) -> Callable[[str], object]:
    """Return a module ``__getattr__`` that finds names in the modules that are their homes.

    Parameters
    ----------
    package
        The package's ``__name__``.
    homes
        Names by module, relative to the package.
    """

    def getattribute(name: str) -> object:
        for module, names in homes.items():
            if name in names:
                value: object = getattr(__import__(f"{package}.{module}", fromlist=[name]), name)
                setattr(sys.modules[package], name, value)
                return value
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return getattribute
