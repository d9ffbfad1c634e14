"""Lazy imports for packages: each public name is imported when it is first used.

So the import of a package costs almost nothing, and a program that only hashes keys never loads the balancer. Type
checkers read the imports under ``TYPE_CHECKING`` in the same package.
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
    """Return a ``__getattr__`` function for a package, which imports names from the modules that define them.

    Parameters
    ----------
    package
        The package's ``__name__``.
    homes
        The names that each module defines, by the name of the module relative to the package.
    packages
        The sub-packages that are attributes too. A name that one of them exports raises an ``ImportError`` with the right
        import. It is no ``AttributeError``, because ``from package import name`` does not show the text of one.
    extra
        The extra that installs the packages which the modules import, for the error if one is missing.
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
    """Import the module that defines a name. If a package is missing, the error names the extra to install."""
    if not extra:
        return __import__(module, fromlist=[name])
    from balancekit._support.extras import extra as imports_of  # noqa: PLC0415 - `import balancekit` loads nothing

    with imports_of(extra):
        return __import__(module, fromlist=[name])
