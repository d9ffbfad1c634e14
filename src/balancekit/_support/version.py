"""Which release is this? As the metadata of the installed package has it, so that there is one place to change it."""

from __future__ import annotations

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("balancekit")
